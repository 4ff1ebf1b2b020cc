select
    source_id,
    employee_key as natural_key,
    nullif(concat_ws(' ', given_name, family_name), '') as employee_name,
    null as payroll_id,
    lower(email) as email,
    not is_archived as is_active,
    null as hired_on,
    null as left_on,
    only_location_key as home_location_key
from {{ ref('stg_lightspeed_r__employees') }}
