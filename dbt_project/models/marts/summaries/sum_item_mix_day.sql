{{
    config(
        unique_key=['location_id', 'business_date', 'item_id', 'currency'],
        facet=['location_id', 'business_date'],
    )
}}

with items as (

    select
        location_id,
        business_date,
        item_id,
        currency,
        quantity_sold,
        net_product_sales,
        sum(net_product_sales) over (
            partition by location_id, business_date, currency
        ) as location_net_product_sales,
        rank() over (
            partition by location_id, business_date, currency
            order by net_product_sales desc
        ) as item_rank
    from {{ ref('sum_item_day') }}

)

select
    location_id,
    business_date,
    item_id,
    currency,
    quantity_sold,
    net_product_sales,
    location_net_product_sales,
    case
        when location_net_product_sales > 0 then round(net_product_sales / location_net_product_sales, 4)
    end as net_product_sales_pct,
    item_rank
from items
