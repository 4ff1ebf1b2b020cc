-- A report does not say its currency: it is the account's, and what an account spent waits until that is known.
with ad_spends as (

    select * from {{ ref('stg_tiktok_ads__ad_spends') }}

),

accounts as (

    select * from {{ ref('stg_tiktok_ads__accounts') }}

)

select
    ad_spends.source_id,
    ad_spends.ad_spend_key as natural_key,
    ad_spends.campaign_key,
    ad_spends.spend_date,
    accounts.currency,
    ad_spends.spend,
    ad_spends.impressions,
    ad_spends.clicks,
    coalesce(ad_spends.purchases, 0) as claimed_purchases,
    coalesce(ad_spends.purchase_value, 0) as claimed_purchase_value,
    28 as restated_for_days
from ad_spends
inner join accounts
    on ad_spends.source_id = accounts.source_id
    and ad_spends.account_key = accounts.account_key
