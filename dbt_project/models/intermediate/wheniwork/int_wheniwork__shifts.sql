-- A break that was punched lies where it was; one that has only a length is taken off the begin of the shift.
with times as (

    select * from {{ ref('stg_wheniwork__times') }}

),

unpaid_breaks as (

    select
        source_id,
        shift_key,
        range_agg(
            case
                when began_at is not null
                    then tstzrange(began_at, case when ended_at < began_at then began_at else ended_at end)
            end
        ) as punched,
        sum(case when began_at is null then length else interval '0' end) as not_punched
    from {{ ref('stg_wheniwork__breaks') }}
    where not is_paid
    group by source_id, shift_key

)

select
    times.source_id,
    times.shift_key as natural_key,
    times.employee_key,
    times.location_key,
    times.position_key as role_key,
    times.started_at as clocked_in_at,
    times.ended_at as clocked_out_at,
    coalesce(unpaid_breaks.punched, '{}')
    + tstzmultirange(
        tstzrange(times.started_at, times.started_at + coalesce(unpaid_breaks.not_punched, interval '0'))
    ) as unpaid_breaks,
    nullif(times.hourly_rate, 0) as hourly_wage,
    null as currency,  -- amounts are without one: the business's reporting currency
    times.is_approved
from times
left join unpaid_breaks
    on times.source_id = unpaid_breaks.source_id
    and times.shift_key = unpaid_breaks.shift_key
