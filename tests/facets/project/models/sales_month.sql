-- A coarser facet whose columns the parent lacks: mapped, and sliced by an expression.
{{ config(
    unique_key=['business_id', 'month_start'],
    facet=['business_id', 'month_start'],
    facet_from={
        'sales_day': "select business_id, date_trunc('month', business_date)::date as month_start from changed",
    },
    slice={
        'sales_day':
            "(business_id, date_trunc('month', business_date)::date) in (select business_id, month_start from facets)",
    },
) }}
select
    business_id,
    date_trunc('month', business_date)::date as month_start,
    count(distinct location_id) as locations,
    sum(net) as net
from {{ ref('sales_day') }}
group by 1, 2
