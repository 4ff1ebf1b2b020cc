with shifts as (

    select * from {{ ref('stg_sevenshifts__shifts') }}
    where not is_deleted

),

unpaid_breaks as (

    select
        source_id,
        shift_key,
        range_agg(tstzrange(began_at, case when ended_at < began_at then began_at else ended_at end)) as unpaid_breaks
    from {{ ref('stg_sevenshifts__breaks') }}
    where not is_paid and not is_deleted
    group by source_id, shift_key

)

select
    shifts.source_id,
    shifts.shift_key as natural_key,
    shifts.employee_key,
    shifts.location_key,
    shifts.role_key,
    shifts.clocked_in_at,
    shifts.clocked_out_at,
    coalesce(unpaid_breaks.unpaid_breaks, '{}') as unpaid_breaks,
    null as hourly_wage,  -- a punch bears one as well, but the wages say by date and role what holds today
    null as currency,
    shifts.is_approved
from shifts
left join unpaid_breaks
    on shifts.source_id = unpaid_breaks.source_id
    and shifts.shift_key = unpaid_breaks.shift_key
