{{ config(unique_key='campaign_id') }}

select
    keys.id as campaign_id,
    keys.source_id,
    {{ business_id_of('keys.source_id') }} as business_id,
    campaigns.account_key,
    keys.natural_key as vendor_campaign_id,
    coalesce(campaigns.campaign_name, 'campaign ' || keys.natural_key) as campaign_name,
    coalesce(campaigns.campaign_status, 'deleted') as campaign_status,
    campaigns.objective,
    location_map.location_id
from {{ ref('keys_source_campaign') }} as keys
left join {{ ref('int_campaigns__unioned') }} as campaigns
    on keys.source_id = campaigns.source_id
    and keys.natural_key = campaigns.natural_key
left join {{ ref('stg_shard__campaign_location_map') }} as location_map
    on keys.id = location_map.source_campaign_id
    and location_map.valid_to = 'infinity'
