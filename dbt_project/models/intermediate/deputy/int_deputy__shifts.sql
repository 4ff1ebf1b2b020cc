-- The time of a timesheet is what lies between begin and end less `Mealbreak`, whose length goes before what slots and
-- punches add up to: it is what Deputy pays by. They tell where it lies.
with timesheets as (

    select * from {{ ref('stg_deputy__timesheets') }}
    where not is_discarded and not is_leave

),

first_meals as (

    select
        source_id,
        shift_key,
        min(began_at) as began_at
    from {{ ref('stg_deputy__timesheet_slots') }}
    where break_type = 'M'
    group by source_id, shift_key

),

pauses as (

    select
        source_id,
        shift_key,
        min(punched_at) filter (where direction = 'out') as first_out_at,
        max(punched_at) filter (where direction = 'out') as last_out_at,
        max(punched_at) filter (where direction = 'in') as last_in_at
    from {{ ref('stg_deputy__timesheet_pauses') }}
    group by source_id, shift_key

),

placed as (

    select
        timesheets.source_id,
        timesheets.shift_key,
        timesheets.employee_key,
        timesheets.location_key,
        timesheets.agreement_key,
        timesheets.is_approved,
        timesheets.started_at,
        case when not timesheets.is_in_progress then timesheets.ended_at end as ended_at,
        timesheets.meal_break,
        greatest(
            least(
                coalesce(first_meals.began_at, pauses.first_out_at, timesheets.started_at),
                case when not timesheets.is_in_progress then timesheets.ended_at - timesheets.meal_break end
            ),
            timesheets.started_at
        ) as break_began_at,
        case
            when timesheets.is_in_progress and pauses.last_out_at > coalesce(pauses.last_in_at, '-infinity')
                then pauses.last_out_at
        end as on_break_since
    from timesheets
    left join first_meals
        on timesheets.source_id = first_meals.source_id
        and timesheets.shift_key = first_meals.shift_key
    left join pauses
        on timesheets.source_id = pauses.source_id
        and timesheets.shift_key = pauses.shift_key

)

select
    source_id,
    shift_key as natural_key,
    employee_key,
    location_key,
    agreement_key as role_key,
    started_at as clocked_in_at,
    ended_at as clocked_out_at,
    tstzmultirange(tstzrange(break_began_at, break_began_at + meal_break))
    + case
        when on_break_since is null then '{}'::tstzmultirange else tstzmultirange(tstzrange(on_break_since, null))
    end as unpaid_breaks,
    null as hourly_wage,  -- what Deputy works out by its pay rules has premiums in it; the agreement's rate has not
    null as currency,
    is_approved
from placed
