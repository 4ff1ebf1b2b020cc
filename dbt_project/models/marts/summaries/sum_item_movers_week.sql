{%- set with_next_week -%}
select location_id, week_begins_on from changed
                union
                select location_id, week_begins_on + 7 from changed
{%- endset -%}
{%- set with_week_before -%}
(location_id, week_begins_on) in (
                    select location_id, week_begins_on from facets
                    union
                    select location_id, week_begins_on - 7 from facets
                )
{%- endset -%}
{{
    config(
        unique_key=['location_id', 'week_begins_on', 'item_id', 'currency'],
        facet=['location_id', 'week_begins_on'],
        facet_from={'sum_item_week': with_next_week, 'sum_sales_week': with_next_week},
        slice={'sum_item_week': with_week_before, 'sum_sales_week': with_week_before},
    )
}}

with weeks as (

    select
        location_id,
        week_begins_on,
        currency,
        trading_days
    from {{ ref('sum_sales_week') }}

),

-- An article that sold in one of two weeks only is in both.
sides as (

    select
        location_id,
        week_begins_on,
        item_id,
        currency,
        quantity_sold,
        net_product_sales,
        0 as quantity_sold_before,
        0 as net_product_sales_before
    from {{ ref('sum_item_week') }}

    union all

    select
        location_id,
        week_begins_on + 7 as week_begins_on,
        item_id,
        currency,
        0 as quantity_sold,
        0 as net_product_sales,
        quantity_sold as quantity_sold_before,
        net_product_sales as net_product_sales_before
    from {{ ref('sum_item_week') }}

),

items as (

    select
        location_id,
        week_begins_on,
        item_id,
        currency,
        sum(quantity_sold) as quantity_sold,
        sum(net_product_sales) as net_product_sales,
        sum(quantity_sold_before) as quantity_sold_before,
        sum(net_product_sales_before) as net_product_sales_before
    from sides
    group by location_id, week_begins_on, item_id, currency

),

-- Where the location did not trade the week before, nothing is known of then: NULL, not 0.
compared as (

    select
        items.location_id,
        items.week_begins_on,
        items.item_id,
        items.currency,
        weeks.trading_days,
        coalesce(weeks_before.trading_days, 0) as trading_days_before,
        items.quantity_sold,
        items.net_product_sales,
        case when weeks_before.trading_days > 0 then items.quantity_sold_before end as quantity_sold_before,
        case when weeks_before.trading_days > 0 then items.net_product_sales_before end as net_product_sales_before
    from items
    inner join weeks
        on items.location_id = weeks.location_id
        and items.week_begins_on = weeks.week_begins_on
        and items.currency = weeks.currency
    left join weeks as weeks_before
        on items.location_id = weeks_before.location_id
        and items.week_begins_on - 7 = weeks_before.week_begins_on
        and items.currency = weeks_before.currency

),

changed_sales as (

    select
        *,
        quantity_sold - quantity_sold_before as quantity_sold_change,
        net_product_sales - net_product_sales_before as net_product_sales_change
    from compared

)

select
    location_id,
    week_begins_on,
    item_id,
    currency,
    trading_days,
    trading_days_before,
    quantity_sold,
    quantity_sold_before,
    quantity_sold_change,
    net_product_sales,
    net_product_sales_before,
    net_product_sales_change,
    case
        when net_product_sales_before > 0 then round(net_product_sales_change / net_product_sales_before, 4)
    end as net_product_sales_change_pct,
    case
        when net_product_sales_change > 0
            then rank() over (
                partition by location_id, week_begins_on, currency
                order by net_product_sales_change desc nulls last
            )
    end as rise_rank,
    case
        when net_product_sales_change < 0
            then rank() over (
                partition by location_id, week_begins_on, currency
                order by net_product_sales_change nulls last
            )
    end as fall_rank
from changed_sales
