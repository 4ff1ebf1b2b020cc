{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'dim_item':
                "select location_id, business_date from this where top_item_id in (select item_id from changed)",
        },
        indexes=[{'columns': ['business_id', 'business_date']}, {'columns': ['top_item_id']}],
    )
}}

-- Of articles that sold alike, one: the smallest id.
with top_items as (

    select distinct on (location_id, business_date, currency)
        location_id,
        business_date,
        currency,
        item_id,
        net_product_sales,
        net_product_sales_pct
    from {{ ref('sum_item_mix_day') }}
    where item_rank = 1 and net_product_sales > 0
    order by location_id, business_date, currency, item_id

)

select
    days.location_id,
    days.business_date,
    days.currency,
    days.business_id,
    days.net_sales,
    compared.net_sales_before,
    compared.net_sales_change,
    compared.net_sales_change_pct,
    days.order_count,
    round(days.net_sales / nullif(days.order_count, 0), 4) as net_sales_per_order,
    days.labour_hours,
    days.labour_cost,
    days.labour_pct,
    days.wage_coverage,
    top_items.item_id as top_item_id,
    items.item_name as top_item_name,
    top_items.net_product_sales as top_item_net_product_sales,
    top_items.net_product_sales_pct as top_item_pct,
    days.discount,
    round(days.discount / nullif(days.gross_sales, 0), 4) as discount_pct,
    days.void_amount,
    round(days.void_amount / nullif(days.gross_sales + days.void_amount, 0), 4) as void_pct,
    case when days.net_sales is not null then coalesce(sales.amount_refunded, 0) end as amount_refunded,
    round(sales.amount_refunded / nullif(sales.payments_collected, 0), 4) as refund_pct,
    days.allocated_spend,
    days.data_through,
    days.is_provisional,
    days.has_quarantine
from {{ ref('sum_location_day') }} as days
left join {{ ref('sum_sales_day') }} as sales
    on days.location_id = sales.location_id
    and days.business_date = sales.business_date
    and days.currency = sales.currency
left join {{ ref('sum_sales_like_for_like_day') }} as compared
    on days.location_id = compared.location_id
    and days.business_date = compared.business_date
    and days.currency = compared.currency
left join top_items
    on days.location_id = top_items.location_id
    and days.business_date = top_items.business_date
    and days.currency = top_items.currency
left join {{ ref('dim_item') }} as items
    on top_items.item_id = items.item_id
