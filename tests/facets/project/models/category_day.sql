-- A dimension that this model's rows do not name: mapped to facets by way of the fact.
{{ config(
    unique_key=['location_id', 'business_date', 'category'],
    facet=['location_id', 'business_date'],
    facet_from={
        'raw.item': 'select location_id, business_date from fct_line where item_id in (select item_id from changed)',
    },
) }}
select
    line.location_id,
    line.business_date,
    coalesce(item.category, 'unknown') as category,
    sum(line.quantity) as quantity,
    sum(line.net) as net,
    string_agg(distinct item.name, ', ' order by item.name) as items
from {{ ref('fct_line') }} as line
left join {{ source('raw', 'item') }} as item using (item_id)
where not line.is_void
group by 1, 2, 3
