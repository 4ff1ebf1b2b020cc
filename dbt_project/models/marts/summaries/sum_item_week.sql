{%- set measures = [
    'quantity_sold', 'returned_quantity', 'gross_sales', 'discount', 'comp', 'returns', 'net_product_sales', 'tax',
    'void_amount', 'open_sales',
] -%}
{{
    config(
        unique_key=['location_id', 'week_begins_on', 'item_id', 'currency'],
        facet=['location_id', 'week_begins_on'],
        facet_from={'sum_item_day': weeks_of_changed_days()},
        slice={'sum_item_day': days_of_weeks()},
    )
}}

-- A day with a movement of goods is a day of sum_sales_day, which knows its week.
with days as (

    select distinct
        location_id,
        business_date,
        week_begins_on
    from {{ ref('sum_sales_day') }}

)

select
    items.location_id,
    days.week_begins_on,
    items.item_id,
    items.currency,
    {%- for measure in measures %}
    sum(items.{{ measure }}) as {{ measure }},
    {%- endfor %}
    sum(items.void_count)::bigint as void_count
from {{ ref('sum_item_day') }} as items
inner join days
    on items.location_id = days.location_id
    and items.business_date = days.business_date
group by items.location_id, days.week_begins_on, items.item_id, items.currency
