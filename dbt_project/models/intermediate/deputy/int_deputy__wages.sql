-- A timesheet says under which agreement it was worked, so an agreement is what a rate by the hour is for. A salary is for
-- the person, whatever the agreement: a later one replaces it.
select
    source_id,
    agreement_key as natural_key,
    employee_key,
    case when coalesce(annual_salary, 0) = 0 then agreement_key end as role_key,
    effective_on,
    case when coalesce(annual_salary, 0) = 0 then base_rate end as hourly_wage,
    nullif(annual_salary, 0) as annual_salary,
    null as currency  -- Deputy gives amounts without one: the business's reporting currency
from {{ ref('stg_deputy__agreements') }}
where base_rate > 0 or annual_salary > 0
