{{
    config(
        unique_key=['shift_id', 'business_date'],
        facet=['employee_id', 'week_begins_on'],
        facet_from={
            'int_wages__unioned': "
                select shifts.employee_id, shifts.week_begins_on
                from changed inner join int_shifts__split as shifts using (source_id, employee_key)
            ",
        },
        indexes=[{'columns': ['location_id', 'business_date']}],
    )
}}

-- The wage then in force for each part of a shift, and the overtime premium in time order over the week.
-- What the vendor keeps with the shift goes first, then a wage for the role before one for any role, then the latest that
-- has taken effect. Whoever has a salary has no wage by the hour, whatever a till works out for the shift.
with with_wage as (

    select
        parts.shift_id,
        parts.business_date,
        parts.business_id,
        parts.source_id,
        parts.location_id,
        parts.source_location_id,
        parts.employee_id,
        parts.source_employee_id,
        parts.role_key,
        parts.week_begins_on,
        parts.clocked_in_at,
        parts.clocked_out_at,
        parts.part_began_at,
        parts.part_ended_at,
        parts.hours,
        parts.overtime_weekly_hours,
        parts.overtime_multiplier,
        parts.is_approved,
        parts.is_provisional,
        case when wage.annual_salary is null then coalesce(parts.hourly_wage, wage.hourly_wage) end as hourly_wage,
        wage.annual_salary is not null as is_salaried,
        coalesce(
            case
                when wage.annual_salary is null and parts.hourly_wage is not null then parts.currency
                else wage.currency
            end,
            parts.reporting_currency
        ) as currency
    from {{ ref('int_shifts__split') }} as parts
    left join lateral (
        select
            wages.hourly_wage,
            wages.annual_salary,
            wages.currency
        from {{ ref('int_wages__unioned') }} as wages
        where
            wages.source_id = parts.source_id
            and wages.employee_key = parts.employee_key
            and wages.effective_on <= parts.business_date
            and (wages.role_key is null or wages.role_key = parts.role_key)
        order by wages.role_key is null, wages.effective_on desc, wages.natural_key desc
        limit 1
    ) as wage on true

),

-- Salaried hours earn no premium and do not bring others over the threshold.
with_running_hours as (

    select
        *,
        case when is_salaried then 0 else hours end as hours_towards_overtime,
        sum(case when is_salaried then 0 else hours end) over (
            partition by business_id, employee_id, week_begins_on
            order by part_began_at, shift_id
            rows unbounded preceding
        ) as running_hours
    from with_wage

),

with_overtime as (

    select
        *,
        least(
            hours_towards_overtime,
            greatest(running_hours - overtime_weekly_hours, 0)
        )::numeric(19, 6) as overtime_hours
    from with_running_hours

),

costed as (

    select
        *,
        case
            when is_salaried then 'salaried'
            when hourly_wage is not null then 'hourly'
            else 'unknown'
        end as pay_type,
        (case when is_salaried then 0 else hours * hourly_wage end)::numeric(19, 4) as base_cost,
        (case
            when is_salaried then 0
            else overtime_hours * hourly_wage * (overtime_multiplier - 1)
        end)::numeric(19, 4) as overtime_premium
    from with_overtime

)

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
from costed
