-- Without a facet: computed whole whenever a parent published anything.
{{ config(unique_key='item_id') }}
select
    item.item_id,
    item.name,
    item.category,
    count(line.sale_id) as lines,
    coalesce(sum(line.net), 0) as net,
    round(coalesce(sum(line.net), 0) / nullif(sum(sum(line.net)) over (), 0), 6) as share
from {{ source('raw', 'item') }} as item
left join {{ ref('fct_line') }} as line on item.item_id = line.item_id and not line.is_void
group by 1, 2, 3
