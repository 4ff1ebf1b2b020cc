select
    source_id,
    employee_key as natural_key,
    nullif(concat_ws(' ', given_name, family_name), '') as employee_name,
    reference_id as payroll_id,  -- the seller's own number of the person in another system
    lower(email) as email,
    is_active,
    null as hired_on,
    null as left_on,
    only_location_key as home_location_key
from {{ ref('stg_square__team_members') }}
