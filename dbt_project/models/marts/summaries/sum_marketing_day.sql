{{
    config(
        unique_key=['business_id', 'business_date', 'currency'],
        facet=['business_id', 'business_date'],
    )
}}

with spends as (

    select
        business_id,
        business_date,
        currency,
        count(distinct campaign_id) as campaign_count,
        sum(spend) as spend,
        coalesce(sum(spend) filter (where is_allocated), 0) as allocated_spend,
        coalesce(sum(spend) filter (where not is_allocated), 0) as unallocated_spend,
        sum(impressions)::bigint as impressions,
        sum(clicks)::bigint as clicks,
        sum(claimed_purchases) as claimed_purchases,
        sum(claimed_purchase_value) as claimed_purchase_value,
        bool_or(is_provisional) as is_provisional
    from {{ ref('fct_ad_spend') }}
    group by business_id, business_date, currency

)

select
    business_id,
    business_date,
    currency,
    campaign_count,
    spend,
    allocated_spend,
    unallocated_spend,
    impressions,
    clicks,
    claimed_purchases,
    claimed_purchase_value,
    round(spend / nullif(claimed_purchases, 0), 4) as claimed_cost_per_acquisition,
    round(claimed_purchase_value / nullif(spend, 0), 4) as claimed_return_on_ad_spend,
    is_provisional
from spends
