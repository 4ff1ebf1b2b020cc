select
    source_id,
    wage_key as natural_key,
    employee_key,
    role_key,
    effective_on,
    case when wage_type = 'hourly' then wage end as hourly_wage,
    case wage_type
        when 'annual_salary' then wage
        when 'weekly_salary' then wage * 52
    end as annual_salary,
    null as currency  -- 7shifts gives amounts without one: the business's reporting currency
from {{ ref('stg_sevenshifts__wages') }}
