{{
    config(
        unique_key=['location_id', 'business_date', 'hour_start', 'currency'],
        facet=['location_id', 'business_date', 'hour_start'],
    )
}}

-- Sales in the hour they were closed, refunds in the hour they were given.
with movements as (

    select
        location_id,
        business_date,
        hour_start,
        local_hour,
        currency,
        order_count,
        covers,
        case when covers is not null then net_sales end as net_sales_with_covers,
        gross_sales,
        discount,
        comp,
        0 as returns,
        service_charge,
        tax_included,
        tax_added,
        0 as tax_returned,
        tip,
        gratuity,
        gift_card_sold,
        donations,
        rounding,
        0 as refund_unitemised,
        void_amount,
        void_count,
        open_sales,
        0 as refund_count,
        0 as amount_refunded
    from {{ ref('fct_sale') }}

    union all

    select
        location_id,
        business_date,
        hour_start,
        local_hour,
        currency,
        0 as order_count,
        null as covers,
        null as net_sales_with_covers,
        0 as gross_sales,
        0 as discount,
        0 as comp,
        returns,
        -service_charge_returned as service_charge,
        0 as tax_included,
        0 as tax_added,
        tax_returned,
        nullif(-tip_returned, 0) as tip,
        -gratuity_returned as gratuity,
        -gift_card_returned as gift_card_sold,
        -donations_returned as donations,
        -rounding_returned as rounding,
        refund_unitemised,
        0 as void_amount,
        0 as void_count,
        0 as open_sales,
        1 as refund_count,
        amount_refunded
    from {{ ref('fct_refund') }}

),

hours as (

    select
        location_id,
        business_date,
        hour_start,
        currency,
        min(local_hour) as local_hour,
        sum(order_count) as order_count,
        sum(covers) as covers,
        sum(net_sales_with_covers) as net_sales_with_covers,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(returns) as returns,
        sum(gross_sales - discount - returns) as net_product_sales,
        sum(service_charge) as service_charge,
        sum(gross_sales - discount - returns + service_charge) as net_sales,
        sum(tax_included) as tax_included,
        sum(tax_added) as tax_added,
        sum(tax_returned) as tax_returned,
        sum(tax_included + tax_added - tax_returned) as tax,
        sum(tip) as tip,
        sum(gratuity) as gratuity,
        sum(gift_card_sold) as gift_card_sold,
        sum(donations) as donations,
        sum(rounding) as rounding,
        sum(refund_unitemised) as refund_unitemised,
        sum(void_amount) as void_amount,
        sum(void_count) as void_count,
        sum(open_sales) as open_sales,
        sum(refund_count) as refund_count,
        sum(amount_refunded) as amount_refunded
    from movements
    group by location_id, business_date, hour_start, currency

)

select
    location_id,
    business_date,
    hour_start,
    local_hour,
    (extract(epoch from local_hour - (hour_start at time zone 'UTC')) / 60)::integer as utc_offset_minutes,
    currency,
    order_count,
    covers,
    net_sales_with_covers,
    gross_sales,
    discount,
    comp,
    returns,
    net_product_sales,
    service_charge,
    net_sales,
    tax_included,
    tax_added,
    tax_returned,
    tax,
    tip,
    gratuity,
    gift_card_sold,
    donations,
    rounding,
    refund_unitemised,
    net_sales + tax + coalesce(tip, 0) + gratuity + gift_card_sold + donations + rounding
    - refund_unitemised as total_collected,
    void_amount,
    void_count,
    open_sales,
    refund_count,
    amount_refunded
from hours
