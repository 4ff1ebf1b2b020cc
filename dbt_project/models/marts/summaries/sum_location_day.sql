{%- set measures = [
    'gross_sales', 'discount', 'returns', 'net_product_sales', 'service_charge', 'net_sales', 'tax', 'total_collected',
    'void_amount', 'open_sales',
] -%}
{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'fct_ad_spend': "select location_id, business_date from changed where location_id is not null",
            'keys_location_setting': "
                select days.location_id, days.business_date
                from changed
                inner join sum_location_calendar as days
                    on days.location_id = changed.location_id
                    and days.business_date >= changed.valid_from
                    and days.business_date < changed.valid_to
            ",
            'int_locations__data_through': "
                select days.location_id, days.business_date
                from (
                    select
                        location_id,
                        case when bool_or(data_through is null) then '-infinity' else min(data_through)::date - 2 end as since
                    from changed
                    group by location_id
                ) as through
                inner join this as days on days.location_id = through.location_id
                where days.business_date >= through.since or days.data_through is null
            ",
        },
        slice={
            'fct_ad_spend': "(location_id, business_date) in (select facets.location_id, facets.business_date from facets)",
        },
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

joined as (

    select
        days.location_id,
        days.business_date,
        days.currency,
        days.business_id,

        case when days.has_sales then coalesce(sales.order_count, 0) end as order_count,
        sales.covers,
        -- an unrecorded cash tip is NULL, a day without a sale has none
        case
            when sales.location_id is not null then sales.tip
            when days.has_sales then 0
        end as tip,
        {%- for measure in measures %}
        case when days.has_sales then coalesce(sales.{{ measure }}, 0) end as {{ measure }},
        {%- endfor %}

        case when days.has_labour then coalesce(labour.hours, 0) end as labour_hours,
        case when days.has_labour then coalesce(labour.overtime_hours, 0) end as overtime_hours,
        case when days.has_labour then coalesce(labour.costed_hours, 0) end as costed_hours,
        case when days.has_labour then coalesce(labour.salaried_cost, 0) end as salaried_cost,
        case
            when labour.location_id is not null then labour.labour_cost
            when days.has_labour then 0
        end as labour_cost,

        case when days.has_spend then coalesce(spend.spend, 0) end as allocated_spend,

        -- capped at the day's end: a finished day is complete, and does not change with every later visit to a vendor
        case
            when through.data_through is not null then least(through.data_through, {{ end_of_day }})
        end as data_through,
        coalesce(labour.is_provisional, false)
        or coalesce(sales.open_sales, 0) <> 0
        or coalesce(through.data_through < {{ end_of_day }}, true) as is_provisional,
        quarantine.location_id is not null as has_quarantine
    from {{ ref('sum_location_calendar') }} as days
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
