-- The wage then in force for each part of a shift, and the overtime premium in time order over the week.
with parts as (

    select
        parts.*,
        sources.business_id,
        businesses.reporting_currency,
        employee_map.employee_id,
        parts.business_date
        - (extract(isodow from parts.business_date)::integer - businesses.first_weekday + 7) % 7 as week_begins_on
    from {{ ref('int_shifts__split') }} as parts
    inner join {{ ref('stg_shard__sources') }} as sources
        on parts.source_id = sources.source_id
    inner join {{ ref('stg_shard__businesses') }} as businesses
        on sources.business_id = businesses.business_id
    inner join {{ ref('keys_employee_map') }} as employee_map
        on parts.source_employee_id = employee_map.source_employee_id
        and parts.business_date >= employee_map.valid_from
        and parts.business_date < employee_map.valid_to

),

-- A wage for the role goes before one for any role, then the latest that has taken effect.
with_wage as (

    select
        parts.*,
        wage.hourly_wage,
        wage.annual_salary is not null as is_salaried,
        coalesce(wage.currency, parts.reporting_currency) as currency
    from parts
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

)

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
