-- Square tells what a job pays now, not since when: it holds from the day on which pay was first set. What was paid by the
-- hour is with each timecard. A rate of zero is how Square writes that none was set.
select
    source_id,
    employee_key || '|' || job_key as natural_key,
    employee_key as root_key,
    employee_key,
    job_key as role_key,
    (created_at at time zone 'UTC')::date as effective_on,
    case when pay_type = 'hourly' then hourly_rate end as hourly_wage,
    case when pay_type = 'salary' then annual_rate end as annual_salary,
    currency
from {{ ref('stg_square__job_assignments') }}
where
    (pay_type = 'hourly' and hourly_rate > 0)
    or (pay_type = 'salary' and annual_rate > 0)
