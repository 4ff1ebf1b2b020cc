{{ config(severity='warn') }}

{% set changed = ['int_salaries__by_day'] %}
-- Salaried people whose home location nobody knows: their cost is in no location's day.
select
    source_employee_id,
    sum(salaried_cost) as salaried_cost
from {{ tested_rows(ref('int_salaries__by_day'), ['source_id', 'employee_key'], changed) }} as int_salaries__by_day
where location_id is null
group by source_employee_id
