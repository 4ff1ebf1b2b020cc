-- Of Google's conversions only purchases are claimed sales: a call or a route asked for sells nothing yet.
with ad_spends as (

    select * from {{ ref('stg_google_ads__ad_spends') }}

),

purchases as (

    select * from {{ ref('stg_google_ads__purchases') }}

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
    coalesce(purchases.purchases, 0) as claimed_purchases,
    coalesce(purchases.purchase_value, 0) as claimed_purchase_value,
    35 as restated_for_days
from ad_spends
left join purchases
    on ad_spends.source_id = purchases.source_id
    and ad_spends.ad_spend_key = purchases.ad_spend_key
