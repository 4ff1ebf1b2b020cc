{{
    config(
        unique_key=['shift_id', 'business_date'],
        indexes=[{'columns': ['location_id', 'business_date']}, {'columns': ['employee_id', 'week_begins_on']}],
    )
}}

select
    shift_id,
    business_date,
    business_id,
    source_id,
    location_id,
    source_location_id,
    employee_id,
    source_employee_id,
    role_key,
    currency,
    pay_type,
    week_begins_on,
    clocked_in_at,
    clocked_out_at,
    part_began_at,
    part_ended_at,
    hours,
    overtime_hours,
    case when pay_type = 'unknown' then 0 else hours end as costed_hours,
    hourly_wage,
    base_cost,
    overtime_premium,
    base_cost + overtime_premium as labour_cost,
    is_approved,
    is_provisional
from {{ ref('int_shifts__costed') }}
