select
    source_id,
    employee_key as natural_key,
    nullif(concat_ws(' ', coalesce(nullif(chosen_name, ''), first_name), last_name), '') as employee_name,
    nullif(external_employee_id, '') as payroll_id,  -- the restaurant's own number of the person in another system
    nullif(lower(email), '') as email,
    not is_archived as is_active,
    null as hired_on,
    null as left_on,
    location_key as home_location_key
from {{ ref('stg_toast__employees') }}
