{%- set week_begins_on -%}
days.business_date - (extract(isodow from days.business_date)::integer - businesses.first_weekday + 7) % 7
{%- endset -%}
{{
    config(
        unique_key=['location_id', 'week_begins_on', 'currency'],
        facet=['location_id', 'week_begins_on'],
        facet_from={
            'sum_labour_day':
                "select days.location_id, " ~ week_begins_on ~ " as week_begins_on
                from changed as days
                inner join dim_business as businesses using (business_id)",
            'dim_business':
                "select location_id, week_begins_on from this
                where business_id in (select business_id from changed)
                union
                select days.location_id, " ~ week_begins_on ~ " as week_begins_on
                from sum_labour_day as days
                inner join dim_business as businesses using (business_id)
                where business_id in (select business_id from changed)",
        },
        slice={'sum_labour_day': days_of_weeks()},
    )
}}

-- A day of labour need not be one of sales, so the week is reckoned here and not taken from sum_sales_day.
with weeks as (

    select
        days.location_id,
        {{ week_begins_on }} as week_begins_on,
        days.currency,
        days.business_id,
        sum(days.shift_count)::bigint as shift_count,
        sum(days.hours) as hours,
        sum(days.overtime_hours) as overtime_hours,
        sum(days.costed_hours) as costed_hours,
        sum(days.base_cost) as base_cost,
        sum(days.overtime_premium) as overtime_premium,
        sum(days.salaried_cost) as salaried_cost,
        bool_or(days.is_provisional) as is_provisional
    from {{ ref('sum_labour_day') }} as days
    inner join {{ ref('dim_business') }} as businesses
        on days.business_id = businesses.business_id
    group by 1, 2, 3, 4

),

-- Hours were worked and none has a wage: NULL, also where the cost of days without hours is known to be 0.
costed as (

    select
        location_id,
        week_begins_on,
        currency,
        business_id,
        shift_count,
        hours,
        overtime_hours,
        costed_hours,
        case when hours = 0 or costed_hours > 0 then base_cost end as base_cost,
        case when hours = 0 or costed_hours > 0 then overtime_premium end as overtime_premium,
        salaried_cost,
        is_provisional
    from weeks

)

select
    costed.location_id,
    costed.week_begins_on,
    costed.currency,
    costed.business_id,
    costed.shift_count,
    costed.hours,
    costed.overtime_hours,
    costed.costed_hours,
    costed.base_cost,
    costed.overtime_premium,
    costed.salaried_cost,
    costed.base_cost + costed.overtime_premium + costed.salaried_cost as labour_cost,
    sales.order_count,
    sales.net_sales,
    round(
        (costed.base_cost + costed.overtime_premium + costed.salaried_cost) / nullif(sales.net_sales, 0), 4
    ) as labour_pct,
    round(sales.net_sales / nullif(costed.hours, 0), 4) as net_sales_per_labour_hour,
    round(costed.overtime_hours / nullif(costed.hours, 0), 4) as overtime_hours_pct,
    round(costed.costed_hours / nullif(costed.hours, 0), 4) as wage_coverage,
    costed.is_provisional
from costed
left join {{ ref('sum_sales_week') }} as sales
    on costed.location_id = sales.location_id
    and costed.week_begins_on = sales.week_begins_on
    and costed.currency = sales.currency
