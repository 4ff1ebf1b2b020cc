{{
    config(
        materialized='changed_facets',
        unique_key=['source_id', 'employee_key', 'business_date', 'currency'],
        facet=['source_id', 'employee_key'],
        facet_from={
            'int_first_punches': "
                select wages.source_id, wages.employee_key
                from changed inner join int_wages__unioned as wages using (source_id)
            ",
            'int_employees__unioned': "select source_id, natural_key as employee_key from changed",
            'keys_source_employee': "select source_id, natural_key as employee_key from changed",
            'keys_source_location': "
                select wages.source_id, wages.employee_key
                from changed inner join int_wages__unioned as wages using (source_id)
            ",
            'keys_location_map': "
                select wages.source_id, wages.employee_key
                from changed
                inner join int_wages__unioned as wages
                    on keys.business_of(wages.source_id) = keys.business_of(changed.source_location_id)
            ",
            'keys_location': "
                select wages.source_id, wages.employee_key
                from changed
                inner join int_wages__unioned as wages on keys.business_of(wages.source_id) = keys.business_of(changed.id)
            ",
            'keys_location_setting': "
                select wages.source_id, wages.employee_key
                from changed
                inner join int_wages__unioned as wages
                    on keys.business_of(wages.source_id) = keys.business_of(changed.location_id)
            ",
            'keys.route': "
                select wages.source_id, wages.employee_key
                from changed
                inner join int_wages__unioned as wages on keys.business_of(wages.source_id) = changed.business
            ",
            'keys.clock': "select source_id, employee_key from int_wages__unioned where annual_salary is not null",
        },
        indexes=[{'columns': ['location_id', 'business_date']}],
    )
}}

-- A salary costs annual ÷ 365 on every day it is in force, worked or not, at the person's home location: the vendor's
-- where given, else where the person worked most hours, else the business's only location, else none. It is counted from
-- the first punch of anyone at that source: of the time before, nothing is known about labour.
with wages as (

    select
        wages.*,
        lead(wages.effective_on) over (
            partition by wages.source_id, wages.employee_key, wages.role_key
            order by wages.effective_on, wages.natural_key
        ) as replaced_on
    from {{ ref('int_wages__unioned') }} as wages

),

most_worked as (

    select distinct on (source_id, employee_key)
        source_id,
        employee_key,
        location_id,
        max(last_worked_on) over (partition by source_id, employee_key) as last_worked_on
    from {{ ref('int_punches__by_employee') }}
    order by source_id, employee_key, hours desc, location_id

),

only_locations as (

    select
        parent_id as business_id,
        min(id) as location_id
    from {{ ref('keys_location') }}
    group by parent_id
    having count(*) = 1

),

salaries as (

    select
        wages.source_id,
        keys.id as source_employee_id,
        wages.employee_key,
        businesses.business_id,
        wages.annual_salary,
        coalesce(wages.currency, businesses.reporting_currency) as currency,
        coalesce(home_map.location_id, most_worked.location_id, only_locations.location_id) as location_id,
        greatest(wages.effective_on, first_punches.first_punch_on) as first_day,
        least(
            wages.replaced_on - 1,
            employees.left_on,
            case when not employees.is_active then most_worked.last_worked_on end,
            (clock.now at time zone coalesce(settings.timezone, 'UTC') - coalesce(settings.day_start, '4 hours'))::date
        ) as last_day
    from wages
    inner join {{ ref('keys_source_employee') }} as keys
        on wages.source_id = keys.source_id
        and wages.employee_key = keys.natural_key
    inner join {{ ref('stg_shard__businesses') }} as businesses
        on {{ business_id_of('wages.source_id') }} = businesses.business_id
    cross join {{ ref('stg_shard__clock') }} as clock
    left join {{ ref('int_employees__unioned') }} as employees
        on wages.source_id = employees.source_id
        and wages.employee_key = employees.natural_key
    left join {{ ref('keys_source_location') }} as home
        on wages.source_id = home.source_id
        and employees.home_location_key = home.natural_key
    left join {{ ref('keys_location_map') }} as home_map
        on home.id = home_map.source_location_id
        and home_map.valid_to = 'infinity'
    left join {{ ref('int_first_punches') }} as first_punches
        on wages.source_id = first_punches.source_id
    left join most_worked
        on wages.source_id = most_worked.source_id
        and wages.employee_key = most_worked.employee_key
    left join only_locations
        on businesses.business_id = only_locations.business_id
    left join {{ ref('keys_location_setting') }} as settings
        on coalesce(home_map.location_id, most_worked.location_id, only_locations.location_id) = settings.location_id
        and settings.valid_to = 'infinity'
    where wages.annual_salary is not null

)

select
    salaries.source_id,
    salaries.employee_key,
    salaries.business_id,
    salaries.source_employee_id,
    salaries.location_id,
    days.business_date::date as business_date,
    salaries.currency,
    sum(salaries.annual_salary / 365)::numeric(19, 4) as salaried_cost
from salaries
cross join lateral generate_series(salaries.first_day, salaries.last_day, interval '1 day') as days (business_date)
group by 1, 2, 3, 4, 5, 6, 7
