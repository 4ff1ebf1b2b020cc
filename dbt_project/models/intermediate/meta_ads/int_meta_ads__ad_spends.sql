with ad_spends as (

    select * from {{ ref('stg_meta_ads__ad_spends') }}

),

-- omni_purchase counts purchases on all channels and contains the others: they must not be added up.
purchases as (

    select
        source_id,
        ad_spend_key,
        coalesce(
            max(amount) filter (where measure = 'count' and action_type = 'omni_purchase'),
            max(amount) filter (where measure = 'count' and action_type = 'purchase')
        ) as claimed_purchases,
        coalesce(
            max(amount) filter (where measure = 'value' and action_type = 'omni_purchase'),
            max(amount) filter (where measure = 'value' and action_type = 'purchase')
        ) as claimed_purchase_value
    from {{ ref('stg_meta_ads__actions') }}
    group by source_id, ad_spend_key

)

select
    ad_spends.source_id,
    ad_spends.ad_spend_key as natural_key,
    ad_spends.campaign_key,
    ad_spends.spend_date,
    ad_spends.currency,
    ad_spends.spend,
    ad_spends.impressions,
    ad_spends.clicks,
    coalesce(purchases.claimed_purchases, 0) as claimed_purchases,
    coalesce(purchases.claimed_purchase_value, 0) as claimed_purchase_value,
    28 as restated_for_days
from ad_spends
left join purchases
    on ad_spends.source_id = purchases.source_id
    and ad_spends.ad_spend_key = purchases.ad_spend_key
