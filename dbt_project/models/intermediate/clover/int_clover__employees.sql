select
    source_id,
    employee_key as natural_key,
    employee_name,
    payroll_id,
    lower(email) as email,
    deleted_at is null as is_active,
    null as hired_on,
    null as left_on,
    null as home_location_key
from {{ ref('stg_clover__employees') }}
