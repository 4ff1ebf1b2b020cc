-- A window over the day; a renamed item touches the days this model itself says it was sold on.
{{ config(
    unique_key=['location_id', 'business_date', 'item_id'],
    facet=['location_id', 'business_date'],
    facet_from={
        'raw.item': 'select location_id, business_date from this where item_id in (select item_id from changed)',
    },
) }}
select
    line.location_id,
    line.business_date,
    line.item_id,
    item.name as item_name,
    sum(line.net) as net,
    round(sum(line.net) / nullif(sum(sum(line.net)) over (partition by line.location_id, line.business_date), 0), 6)
        as share,
    rank() over (partition by line.location_id, line.business_date order by sum(line.net) desc) as place
from {{ ref('fct_line') }} as line
left join {{ source('raw', 'item') }} as item using (item_id)
where not line.is_void
group by 1, 2, 3, 4
