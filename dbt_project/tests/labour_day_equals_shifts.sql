{% set changed = ['sum_labour_day', 'fct_shift', 'int_salaries__by_day'] %}
-- Hours and costs of the days add up to those of the shifts, and salaries are added once.
with days as (

    select
        business_id,
        sum(hours) as hours,
        sum(coalesce(base_cost, 0) + coalesce(overtime_premium, 0)) as hourly_cost,
        sum(salaried_cost) as salaried_cost
    from {{ tested_rows(ref('sum_labour_day'), ['location_id', 'business_date'], changed) }} as sum_labour_day
    group by business_id

),

shifts as (

    select
        business_id,
        sum(hours) as hours,
        sum(coalesce(labour_cost, 0)) as hourly_cost
    from {{ tested_rows(ref('fct_shift'), ['location_id', 'business_date'], changed) }} as fct_shift
    group by business_id

),

salaries as (

    select
        business_id,
        sum(salaried_cost) as salaried_cost
    from {{ tested_rows(ref('int_salaries__by_day'), ['location_id', 'business_date'], changed) }} as salaries
    where location_id is not null
    group by business_id

)

select
    business_id,
    days.hours as hours_of_days,
    shifts.hours as hours_of_shifts
from days
full join shifts using (business_id)
full join salaries using (business_id)
where
    coalesce(days.hours, 0) <> coalesce(shifts.hours, 0)
    or coalesce(days.hourly_cost, 0) <> coalesce(shifts.hourly_cost, 0)
    or coalesce(days.salaried_cost, 0) <> coalesce(salaries.salaried_cost, 0)
