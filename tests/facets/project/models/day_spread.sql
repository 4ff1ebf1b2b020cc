-- Measures that cannot be added up or taken back: a median, distinct counts, a list. Columns qualified by the parent's name.
{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']) }}
select
    fct_line.location_id,
    fct_line.business_date,
    count(distinct fct_line.sale_id) as sales,
    count(distinct fct_line.item_id) filter (where not fct_line.is_void) as items,
    percentile_disc(0.5) within group (order by net) filter (where not fct_line.is_void) as median_net,
    sum(net) filter (where is_void) as voided,
    array_agg(distinct hour order by hour) as hours
from {{ ref('fct_line') }}
group by 1, 2
