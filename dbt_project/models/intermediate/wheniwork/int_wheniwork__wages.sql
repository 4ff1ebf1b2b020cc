-- The present base rate of a user, for times that bear none of their own. When I Work does not say since when it holds.
-- Of a salary it says that there is one, not how much.
select
    source_id,
    employee_key as natural_key,
    employee_key,
    null as role_key,
    '1970-01-01'::date as effective_on,
    hourly_rate as hourly_wage,
    null as annual_salary,
    null as currency  -- amounts are without one: the business's reporting currency
from {{ ref('stg_wheniwork__users') }}
where hourly_rate > 0 and not is_salaried
