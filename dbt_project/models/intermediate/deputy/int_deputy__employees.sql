select
    source_id,
    employee_key as natural_key,
    employee_name,
    null as payroll_id,  -- Deputy keeps one for each agreement, not for the person
    lower(email) as email,
    is_active,
    hired_on,
    left_on,
    location_key as home_location_key
from {{ ref('stg_deputy__employees') }}
