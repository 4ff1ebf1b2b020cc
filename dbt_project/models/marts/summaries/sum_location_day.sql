{%- set measures = [
    'gross_sales', 'discount', 'returns', 'net_product_sales', 'service_charge', 'net_sales', 'tax', 'total_collected',
    'void_amount', 'open_sales',
] -%}
{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        indexes=[{'columns': ['business_id', 'business_date']}],
    )
}}

{%- set day_start = "coalesce(settings.day_start, '4 hours')" -%}
{%- set end_of_day -%}
((days.business_date + 1 + {{ day_start }}) at time zone coalesce(settings.timezone, 'UTC'))
{%- endset %}

with sales as (

    select * from {{ ref('sum_sales_day') }}

),

labour as (

    select * from {{ ref('sum_labour_day') }}

),

spend as (

    select
        location_id,
        business_date,
        currency,
        sum(spend) as spend
    from {{ ref('fct_ad_spend') }}
    where is_allocated
    group by location_id, business_date, currency

),

-- From which day on something is known: before it a number is NULL, from it on a day without any is 0.
known_from as (

    select
        location_id,
        currency,
        min(first_day) filter (where subject = 'sales') as sales_from,
        min(first_day) filter (where subject = 'labour') as labour_from,
        min(first_day) filter (where subject = 'spend') as spend_from,
        max(last_day) filter (where subject = 'sales') as sales_to,
        max(last_day) filter (where subject = 'labour') as labour_to
    from (
        select
            location_id,
            currency,
            min(business_date) as first_day,
            max(business_date) as last_day,
            'sales' as subject
        from sales
        group by location_id, currency
        union all
        select
            location_id,
            currency,
            min(business_date) as first_day,
            max(business_date) as last_day,
            'labour' as subject
        from labour
        group by location_id, currency
        union all
        select
            location_id,
            currency,
            min(business_date) as first_day,
            max(business_date) as last_day,
            'spend' as subject
        from spend
        group by location_id, currency
    ) as first_days
    group by location_id, currency

),

-- Every day up to the one that now runs is a row, traded or not; a closed site ends with its last trade.
last_days as (

    select
        known_from.location_id,
        known_from.currency,
        locations.business_id,
        greatest(
            known_from.sales_to,
            known_from.labour_to,
            case
                when locations.is_active then (clock.now at time zone locations.timezone - locations.day_start)::date
            end
        ) as last_day
    from known_from
    inner join {{ ref('dim_location') }} as locations
        on known_from.location_id = locations.location_id
    cross join {{ ref('stg_shard__clock') }} as clock

),

days as (

    select
        known_from.*,
        last_days.business_id,
        calendar.business_date::date as business_date
    from known_from
    inner join last_days
        on known_from.location_id = last_days.location_id
        and known_from.currency = last_days.currency
    cross join lateral generate_series(
        least(known_from.sales_from, known_from.labour_from, known_from.spend_from),
        last_days.last_day,
        interval '1 day'
    ) as calendar (business_date)

),

joined as (

    select
        days.location_id,
        days.business_date,
        days.currency,
        days.business_id,

        case when days.business_date >= days.sales_from then coalesce(sales.order_count, 0) end as order_count,
        sales.covers,
        -- an unrecorded cash tip is NULL, a day without a sale has none
        case
            when sales.location_id is not null then sales.tip
            when days.business_date >= days.sales_from then 0
        end as tip,
        {%- for measure in measures %}
        case when days.business_date >= days.sales_from then coalesce(sales.{{ measure }}, 0) end as {{ measure }},
        {%- endfor %}

        case when days.business_date >= days.labour_from then coalesce(labour.hours, 0) end as labour_hours,
        case when days.business_date >= days.labour_from then coalesce(labour.overtime_hours, 0) end as overtime_hours,
        case when days.business_date >= days.labour_from then coalesce(labour.costed_hours, 0) end as costed_hours,
        case when days.business_date >= days.labour_from then coalesce(labour.salaried_cost, 0) end as salaried_cost,
        case
            when labour.location_id is not null then labour.labour_cost
            when days.business_date >= days.labour_from then 0
        end as labour_cost,

        case when days.business_date >= days.spend_from then coalesce(spend.spend, 0) end as allocated_spend,

        -- capped at the day's end: a finished day is complete, and does not change with every later visit to a vendor
        case
            when through.data_through is not null then least(through.data_through, {{ end_of_day }})
        end as data_through,
        coalesce(labour.is_provisional, false)
        or coalesce(sales.open_sales, 0) <> 0
        or coalesce(through.data_through < {{ end_of_day }}, true) as is_provisional,
        quarantine.location_id is not null as has_quarantine
    from days
    left join {{ ref('keys_location_setting') }} as settings
        on days.location_id = settings.location_id
        and days.business_date >= settings.valid_from
        and days.business_date < settings.valid_to
    left join sales
        on days.location_id = sales.location_id
        and days.business_date = sales.business_date
        and days.currency = sales.currency
    left join labour
        on days.location_id = labour.location_id
        and days.business_date = labour.business_date
        and days.currency = labour.currency
    left join spend
        on days.location_id = spend.location_id
        and days.business_date = spend.business_date
        and days.currency = spend.currency
    left join {{ ref('int_locations__data_through') }} as through
        on days.location_id = through.location_id
    left join {{ ref('int_quarantine__by_day') }} as quarantine
        on days.location_id = quarantine.location_id
        and days.business_date = quarantine.business_date

)

select
    location_id,
    business_date,
    currency,
    business_id,
    order_count,
    covers,
    gross_sales,
    discount,
    returns,
    net_product_sales,
    service_charge,
    net_sales,
    tax,
    tip,
    total_collected,
    void_amount,
    open_sales,
    labour_hours,
    overtime_hours,
    costed_hours,
    salaried_cost,
    labour_cost,
    round(labour_cost / nullif(net_sales, 0), 4) as labour_pct,
    round(costed_hours / nullif(labour_hours, 0), 4) as wage_coverage,
    round(net_sales / nullif(labour_hours, 0), 4) as net_sales_per_labour_hour,
    allocated_spend,
    data_through,
    is_provisional,
    has_quarantine
from joined
