with timecards as (

    select * from {{ ref('stg_square__timecards') }}

),

unpaid_breaks as (

    select
        source_id,
        shift_key,
        range_agg(tstzrange(began_at, case when ended_at < began_at then began_at else ended_at end)) as unpaid_breaks
    from {{ ref('stg_square__timecard_breaks') }}
    where not is_paid
    group by source_id, shift_key

)

select
    timecards.source_id,
    timecards.shift_key as natural_key,
    timecards.employee_key,
    timecards.location_key,
    timecards.job_key as role_key,
    timecards.started_at as clocked_in_at,
    timecards.ended_at as clocked_out_at,
    coalesce(unpaid_breaks.unpaid_breaks, '{}') as unpaid_breaks,
    nullif(timecards.hourly_rate, 0) as hourly_wage,  -- zero is how Square writes that no wage was set
    timecards.currency,
    false as is_approved  -- Square knows no approval
from timecards
left join unpaid_breaks
    on timecards.source_id = unpaid_breaks.source_id
    and timecards.shift_key = unpaid_breaks.shift_key
