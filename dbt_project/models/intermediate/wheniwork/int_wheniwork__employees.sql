select
    source_id,
    employee_key as natural_key,
    nullif(concat_ws(' ', first_name, last_name), '') as employee_name,
    employee_code as payroll_id,
    lower(email) as email,
    not is_deleted as is_active,
    null as hired_on,
    null as left_on,
    only_location_key as home_location_key
from {{ ref('stg_wheniwork__users') }}
