{{
    config(
        materialized='changed_facets',
        unique_key=['shift_id', 'business_date'],
        facet=['source_id', 'root_key'],
        facet_from={
            'keys_source_location': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join int_shifts__unioned as shifts
                    on shifts.source_id = changed.source_id and shifts.location_key = changed.natural_key
            ",
            'keys_source_employee': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join int_shifts__unioned as shifts
                    on shifts.source_id = changed.source_id and shifts.employee_key = changed.natural_key
            ",
            'keys_location_map': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join keys_source_location as sites on sites.id = changed.source_location_id
                inner join int_shifts__unioned as shifts
                    on shifts.source_id = sites.source_id and shifts.location_key = sites.natural_key
            ",
            'keys_location_setting': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join keys_location_map as location_map on location_map.location_id = changed.location_id
                inner join keys_source_location as sites on sites.id = location_map.source_location_id
                inner join int_shifts__unioned as shifts
                    on shifts.source_id = sites.source_id and shifts.location_key = sites.natural_key
            ",
            'keys_employee_map': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join keys_source_employee as people on people.id = changed.source_employee_id
                inner join int_shifts__unioned as shifts
                    on shifts.source_id = people.source_id and shifts.employee_key = people.natural_key
            ",
            'keys.route': "
                select shifts.source_id, shifts.root_key
                from changed
                inner join int_shifts__unioned as shifts on keys.business_of(shifts.source_id) = changed.business
            ",
            'keys.clock': "select source_id, root_key from this where is_provisional",
        },
        indexes=[{'columns': ['employee_id', 'week_begins_on']}, {'columns': ['source_id', 'employee_key']}],
    )
}}

-- Hours worked of each shift on each business day: worked minus unpaid breaks, cut where the location's day begins.
-- An open punch counts to now, at most 16 hours (a longer one was forgotten), and is provisional.
with shifts as (

    select
        keys.id as shift_id,
        shifts.source_id,
        shifts.root_key,
        source_locations.id as source_location_id,
        source_employees.id as source_employee_id,
        shifts.employee_key,
        shifts.role_key,
        shifts.clocked_in_at,
        shifts.clocked_out_at,
        case
            when shifts.clocked_out_at is null
                then greatest(least(clock.now, shifts.clocked_in_at + interval '16 hours'), shifts.clocked_in_at)
            else greatest(shifts.clocked_out_at, shifts.clocked_in_at)
        end as counted_to,
        shifts.unpaid_breaks,
        shifts.hourly_wage,
        shifts.currency,
        shifts.is_approved,
        shifts.clocked_out_at is null as is_provisional
    from {{ ref('int_shifts__unioned') }} as shifts
    inner join {{ ref('keys_shift') }} as keys
        on shifts.source_id = keys.source_id
        and shifts.natural_key = keys.natural_key
    inner join {{ ref('keys_source_location') }} as source_locations
        on shifts.source_id = source_locations.source_id
        and shifts.location_key = source_locations.natural_key
    inner join {{ ref('keys_source_employee') }} as source_employees
        on shifts.source_id = source_employees.source_id
        and shifts.employee_key = source_employees.natural_key
    cross join {{ ref('stg_shard__clock') }} as clock

),

-- Time zone and day start are dated by business date, so a day's beginning is known only once the date is assumed:
-- try every date the shift can touch in any time zone. A site whose settings nobody gave lives by the defaults.
beginnings as (

    select
        shifts.shift_id,
        dates.business_date::date as business_date,
        location_map.location_id,
        coalesce(settings.overtime_weekly_hours, 40) as overtime_weekly_hours,
        coalesce(settings.overtime_multiplier, 1.5) as overtime_multiplier,
        (dates.business_date::date + coalesce(settings.day_start, '4 hours'))
        at time zone coalesce(settings.timezone, 'UTC') as day_begins_at
    from shifts
    cross join
        generate_series(
            (shifts.clocked_in_at at time zone 'UTC')::date - 2,
            (shifts.counted_to at time zone 'UTC')::date + 2,
            interval '1 day'
        ) as dates (business_date)
    inner join {{ ref('keys_location_map') }} as location_map
        on shifts.source_location_id = location_map.source_location_id
        and dates.business_date >= location_map.valid_from
        and dates.business_date < location_map.valid_to
    left join {{ ref('keys_location_setting') }} as settings
        on location_map.location_id = settings.location_id
        and dates.business_date >= settings.valid_from
        and dates.business_date < settings.valid_to

),

days as (

    select
        *,
        lead(day_begins_at) over (partition by shift_id order by business_date) as day_ends_at
    from beginnings

),

parts as (

    select
        shifts.shift_id,
        days.business_date,
        shifts.source_id,
        shifts.root_key,
        shifts.source_location_id,
        days.location_id,
        shifts.source_employee_id,
        shifts.employee_key,
        shifts.role_key,
        shifts.clocked_in_at,
        shifts.clocked_out_at,
        greatest(shifts.clocked_in_at, days.day_begins_at) as part_began_at,
        least(shifts.counted_to, days.day_ends_at) as part_ended_at,
        shifts.unpaid_breaks,
        shifts.hourly_wage,
        shifts.currency,
        days.overtime_weekly_hours,
        days.overtime_multiplier,
        shifts.is_approved,
        shifts.is_provisional
    from shifts
    inner join days
        on shifts.shift_id = days.shift_id
        and shifts.clocked_in_at < days.day_ends_at
        and (shifts.counted_to > days.day_begins_at or shifts.clocked_in_at >= days.day_begins_at)

),

measured as (

    select
        parts.*,
        coalesce(worked.seconds, 0) as seconds
    from parts
    cross join lateral (
        select sum(extract(epoch from upper(stretch) - lower(stretch))) as seconds
        from unnest(
            tstzmultirange(tstzrange(parts.part_began_at, parts.part_ended_at)) - parts.unpaid_breaks
        ) as stretch
    ) as worked

)

select
    measured.shift_id,
    measured.business_date,
    measured.source_id,
    measured.root_key,
    businesses.business_id,
    measured.source_location_id,
    measured.location_id,
    measured.source_employee_id,
    measured.employee_key,
    employee_map.employee_id,
    measured.business_date
    - (extract(isodow from measured.business_date)::integer - businesses.first_weekday + 7) % 7 as week_begins_on,
    measured.role_key,
    businesses.reporting_currency,
    measured.hourly_wage,
    measured.currency,
    measured.clocked_in_at,
    measured.clocked_out_at,
    measured.part_began_at,
    measured.part_ended_at,
    (measured.seconds / 3600)::numeric(19, 6) as hours,
    measured.overtime_weekly_hours,
    measured.overtime_multiplier,
    measured.is_approved,
    measured.is_provisional
from measured
inner join {{ ref('stg_shard__businesses') }} as businesses
    on {{ business_id_of('measured.source_id') }} = businesses.business_id
inner join {{ ref('keys_employee_map') }} as employee_map
    on measured.source_employee_id = employee_map.source_employee_id
    and measured.business_date >= employee_map.valid_from
    and measured.business_date < employee_map.valid_to
