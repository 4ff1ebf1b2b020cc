select
    source_id,
    employee_key as natural_key,
    nullif(concat_ws(' ', first_name, last_name), '') as employee_name,
    payroll_id,
    lower(email) as email,
    is_active,
    hired_on,
    null as left_on,
    null as home_location_key
from {{ ref('stg_sevenshifts__employees') }}
