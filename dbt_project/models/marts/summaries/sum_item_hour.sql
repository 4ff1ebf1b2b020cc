{{
    config(
        unique_key=['location_id', 'business_date', 'hour_start', 'item_id', 'currency'],
        facet=['location_id', 'business_date', 'hour_start'],
    )
}}

with movements as (

    select
        location_id,
        business_date,
        hour_start,
        item_id,
        currency,
        quantity_sold,
        0 as returned_quantity,
        gross_sales,
        discount,
        comp,
        0 as returns,
        tax,
        void_amount,
        void_count,
        open_sales
    from {{ ref('fct_sale_item') }}
    where line_type in ('item', 'modifier', 'custom_amount')

    union all

    select
        location_id,
        business_date,
        hour_start,
        item_id,
        currency,
        0 as quantity_sold,
        returned_quantity,
        0 as gross_sales,
        0 as discount,
        0 as comp,
        returns,
        -tax_returned as tax,
        0 as void_amount,
        0 as void_count,
        0 as open_sales
    from {{ ref('fct_refund_item') }}
    where line_type not in ('gift_card', 'donation')

)

select
    location_id,
    business_date,
    hour_start,
    item_id,
    currency,
    sum(quantity_sold) as quantity_sold,
    sum(returned_quantity) as returned_quantity,
    sum(gross_sales) as gross_sales,
    sum(discount) as discount,
    sum(comp) as comp,
    sum(returns) as returns,
    sum(gross_sales - discount - returns) as net_product_sales,
    sum(tax) as tax,
    sum(void_amount) as void_amount,
    sum(void_count) as void_count,
    sum(open_sales) as open_sales
from movements
group by location_id, business_date, hour_start, item_id, currency
