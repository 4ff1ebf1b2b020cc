{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'int_salaries__by_day': "select location_id, business_date from changed where location_id is not null",
        },
        slice={
            'int_salaries__by_day': "
                (location_id, business_date) in (select facets.location_id, facets.business_date from facets)
            ",
        },
    )
}}

with worked as (

    select
        location_id,
        business_date,
        currency,
        business_id,
        count(*) filter (where part_began_at = clocked_in_at) as shift_count,
        count(distinct employee_id) as employee_count,
        sum(hours) as hours,
        sum(overtime_hours) as overtime_hours,
        sum(costed_hours) as costed_hours,
        sum(base_cost) as base_cost,
        sum(overtime_premium) as overtime_premium,
        bool_or(is_provisional) as is_provisional
    from {{ ref('fct_shift') }}
    group by location_id, business_date, currency, business_id

),

salaried as (

    select
        location_id,
        business_date,
        currency,
        business_id,
        sum(salaried_cost) as salaried_cost
    from {{ ref('int_salaries__by_day') }}
    where location_id is not null
    group by location_id, business_date, currency, business_id

),

combined as (

    select
        coalesce(worked.location_id, salaried.location_id) as location_id,
        coalesce(worked.business_date, salaried.business_date) as business_date,
        coalesce(worked.currency, salaried.currency) as currency,
        coalesce(worked.business_id, salaried.business_id) as business_id,
        coalesce(worked.shift_count, 0) as shift_count,
        coalesce(worked.employee_count, 0) as employee_count,
        coalesce(worked.hours, 0) as hours,
        coalesce(worked.overtime_hours, 0) as overtime_hours,
        coalesce(worked.costed_hours, 0) as costed_hours,
        -- hours without any known wage cost NULL; no hours cost nothing
        case when worked.location_id is null then 0 else worked.base_cost end as base_cost,
        case when worked.location_id is null then 0 else worked.overtime_premium end as overtime_premium,
        coalesce(salaried.salaried_cost, 0) as salaried_cost,
        coalesce(worked.is_provisional, false) as is_provisional
    from worked
    full join salaried
        on worked.location_id = salaried.location_id
        and worked.business_date = salaried.business_date
        and worked.currency = salaried.currency

)

select
    location_id,
    business_date,
    currency,
    business_id,
    shift_count,
    employee_count,
    hours,
    overtime_hours,
    costed_hours,
    base_cost,
    overtime_premium,
    salaried_cost,
    base_cost + overtime_premium + salaried_cost as labour_cost,
    round(costed_hours / nullif(hours, 0), 4) as wage_coverage,
    is_provisional
from combined
