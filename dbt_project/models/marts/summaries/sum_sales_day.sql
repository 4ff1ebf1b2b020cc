{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'keys.route': "
                select days.location_id, days.business_date
                from changed inner join this as days on keys.business_of(days.location_id) = changed.business
            ",
        },
    )
}}

with days as (

    select
        location_id,
        business_date,
        currency,
        sum(order_count)::bigint as order_count,
        sum(covers)::bigint as covers,
        sum(net_sales_with_covers) as net_sales_with_covers,
        sum(gross_sales) as gross_sales,
        sum(discount) as discount,
        sum(comp) as comp,
        sum(returns) as returns,
        sum(net_product_sales) as net_product_sales,
        sum(service_charge) as service_charge,
        sum(net_sales) as net_sales,
        sum(tax_included) as tax_included,
        sum(tax_added) as tax_added,
        sum(tax_returned) as tax_returned,
        sum(tax) as tax,
        sum(tip) as tip,
        sum(gratuity) as gratuity,
        sum(gift_card_sold) as gift_card_sold,
        sum(donations) as donations,
        sum(rounding) as rounding,
        sum(refund_unitemised) as refund_unitemised,
        sum(total_collected) as total_collected,
        sum(void_amount) as void_amount,
        sum(void_count)::bigint as void_count,
        sum(open_sales) as open_sales,
        sum(refund_count)::bigint as refund_count,
        sum(amount_refunded) as amount_refunded
    from {{ ref('sum_sales_hour') }}
    group by location_id, business_date, currency

),

payments as (

    select
        location_id,
        business_date,
        currency,
        sum(collected) as payments_collected,
        sum(deposit) as deposits
    from {{ ref('sum_payment_hour') }}
    group by location_id, business_date, currency

),

combined as (

    select
        location_id,
        business_date,
        currency,
        coalesce(days.order_count, 0) as order_count,
        days.covers,
        days.net_sales_with_covers,
        coalesce(days.gross_sales, 0) as gross_sales,
        coalesce(days.discount, 0) as discount,
        coalesce(days.comp, 0) as comp,
        coalesce(days.returns, 0) as returns,
        coalesce(days.net_product_sales, 0) as net_product_sales,
        coalesce(days.service_charge, 0) as service_charge,
        coalesce(days.net_sales, 0) as net_sales,
        coalesce(days.tax_included, 0) as tax_included,
        coalesce(days.tax_added, 0) as tax_added,
        coalesce(days.tax_returned, 0) as tax_returned,
        coalesce(days.tax, 0) as tax,
        days.tip,
        coalesce(days.gratuity, 0) as gratuity,
        coalesce(days.gift_card_sold, 0) as gift_card_sold,
        coalesce(days.donations, 0) as donations,
        coalesce(days.rounding, 0) as rounding,
        coalesce(days.refund_unitemised, 0) as refund_unitemised,
        coalesce(days.total_collected, 0) as total_collected,
        coalesce(payments.payments_collected, 0) as payments_collected,
        coalesce(days.amount_refunded, 0) as amount_refunded,
        coalesce(days.refund_count, 0) as refund_count,
        coalesce(payments.deposits, 0) as deposits,
        coalesce(days.void_amount, 0) as void_amount,
        coalesce(days.void_count, 0) as void_count,
        coalesce(days.open_sales, 0) as open_sales
    from days
    full join payments using (location_id, business_date, currency)

)

select
    combined.location_id,
    combined.business_date,
    combined.currency,
    businesses.business_id,
    combined.business_date
    - (extract(isodow from combined.business_date)::integer - businesses.first_weekday + 7) % 7 as week_begins_on,
    date_trunc('month', combined.business_date)::date as month_start,
    combined.order_count,
    combined.covers,
    combined.net_sales_with_covers,
    combined.gross_sales,
    combined.discount,
    combined.comp,
    combined.returns,
    combined.net_product_sales,
    combined.service_charge,
    combined.net_sales,
    combined.tax_included,
    combined.tax_added,
    combined.tax_returned,
    combined.tax,
    combined.tip,
    combined.gratuity,
    combined.gift_card_sold,
    combined.donations,
    combined.rounding,
    combined.refund_unitemised,
    combined.total_collected,
    combined.payments_collected,
    combined.amount_refunded,
    combined.refund_count,
    combined.deposits,
    combined.void_amount,
    combined.void_count,
    combined.open_sales
from combined
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('combined.location_id') }} = businesses.business_id
