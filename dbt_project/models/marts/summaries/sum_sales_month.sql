{%- set amounts = [
    'net_sales_with_covers', 'gross_sales', 'discount', 'comp', 'returns', 'net_product_sales', 'service_charge', 'net_sales',
    'tax_included', 'tax_added', 'tax_returned', 'tax', 'tip', 'gratuity', 'gift_card_sold', 'donations', 'rounding',
    'refund_unitemised', 'total_collected', 'payments_collected', 'amount_refunded', 'deposits', 'void_amount', 'open_sales',
] -%}
{{
    config(
        unique_key=['location_id', 'month_start', 'currency'],
        facet=['location_id', 'month_start'],
    )
}}

with months as (

    select
        location_id,
        month_start,
        currency,
        business_id,
        count(*) filter (where order_count > 0) as trading_days,
        {%- for measure in amounts %}
        sum({{ measure }}) as {{ measure }},
        {%- endfor %}
        sum(order_count)::bigint as order_count,
        sum(covers)::bigint as covers,
        sum(refund_count)::bigint as refund_count,
        sum(void_count)::bigint as void_count
    from {{ ref('sum_sales_day') }}
    group by location_id, month_start, currency, business_id

)

select
    *,
    round(net_sales / nullif(order_count, 0), 4) as net_sales_per_order,
    round(net_sales_with_covers / nullif(covers, 0), 4) as net_sales_per_cover
from months
