{{ config(materialized='changed_facets', unique_key=['source_id'], facet=['source_id']) }}

select
    source_id,
    min(first_worked_on) as first_punch_on
from {{ ref('int_punches__by_employee') }}
group by source_id
