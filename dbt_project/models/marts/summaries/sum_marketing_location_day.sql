{{
    config(
        unique_key=['location_id', 'business_date', 'currency'],
        facet=['location_id', 'business_date'],
        facet_from={
            'fct_ad_spend': "select location_id, business_date from changed where location_id is not null",
        },
        slice={
            'fct_ad_spend': "(location_id, business_date) in (select location_id, business_date from facets)",
        },
    )
}}

with spends as (

    select
        location_id,
        business_date,
        currency,
        business_id,
        count(distinct campaign_id) as campaign_count,
        sum(spend) as spend,
        sum(impressions)::bigint as impressions,
        sum(clicks)::bigint as clicks,
        sum(claimed_purchases) as claimed_purchases,
        sum(claimed_purchase_value) as claimed_purchase_value,
        bool_or(is_provisional) as is_provisional
    from {{ ref('fct_ad_spend') }}
    where is_allocated
    group by location_id, business_date, currency, business_id

)

select
    spends.location_id,
    spends.business_date,
    spends.currency,
    spends.business_id,
    spends.campaign_count,
    spends.spend,
    spends.impressions,
    spends.clicks,
    round(spends.spend / nullif(spends.clicks, 0), 4) as cost_per_click,
    spends.claimed_purchases,
    spends.claimed_purchase_value,
    round(spends.spend / nullif(spends.claimed_purchases, 0), 4) as claimed_cost_per_acquisition,
    round(spends.claimed_purchase_value / nullif(spends.spend, 0), 4) as claimed_return_on_ad_spend,
    location_days.order_count,
    location_days.net_sales,
    spends.is_provisional
from spends
left join {{ ref('sum_location_day') }} as location_days
    on spends.location_id = location_days.location_id
    and spends.business_date = location_days.business_date
    and spends.currency = location_days.currency
