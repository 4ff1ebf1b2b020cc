{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'employee_key', 'location_id'],
        facet=['source_id', 'employee_key'],
    )
}}

select
    source_id,
    employee_key,
    location_id,
    sum(hours) as hours,
    min(business_date) as first_worked_on,
    max(business_date) as last_worked_on
from {{ ref('int_shifts__split') }}
group by source_id, employee_key, location_id
