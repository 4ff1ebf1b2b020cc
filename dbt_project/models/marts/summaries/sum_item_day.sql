{{
    config(
        unique_key=['location_id', 'item_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date', 'item_id'],
    )
}}

select
    location_id,
    item_id,
    business_date,
    currency,
    sum(quantity_sold) as quantity_sold,
    sum(returned_quantity) as returned_quantity,
    sum(gross_sales) as gross_sales,
    sum(discount) as discount,
    sum(comp) as comp,
    sum(returns) as returns,
    sum(net_product_sales) as net_product_sales,
    sum(tax) as tax,
    sum(void_amount) as void_amount,
    sum(void_count)::bigint as void_count,
    sum(open_sales) as open_sales
from {{ ref('sum_item_hour') }}
group by location_id, item_id, business_date, currency
