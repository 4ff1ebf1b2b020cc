{{
    config(
        unique_key='ad_spend_id',
        facet=['source_id', 'root_key'],
        facet_from={
            'keys_source_campaign': "
                select spends.source_id, spends.root_key
                from changed
                inner join int_ad_spends__unioned as spends
                    on spends.source_id = changed.source_id and spends.campaign_key = changed.natural_key
            ",
            'keys.campaign_location_map': "
                select spends.source_id, spends.root_key
                from changed
                inner join keys_source_campaign as campaigns on campaigns.id = changed.source_campaign_id
                inner join int_ad_spends__unioned as spends
                    on spends.source_id = campaigns.source_id and spends.campaign_key = campaigns.natural_key
            ",
            'keys.clock': "select source_id, root_key from this where is_provisional",
        },
        indexes=[{'columns': ['location_id', 'business_date']}],
    )
}}

-- Spend goes to a location only where a person mapped the campaign to it; its name is no evidence.
select
    keys.id as ad_spend_id,
    {{ business_id_of('ad_spends.source_id') }} as business_id,
    ad_spends.source_id,
    ad_spends.root_key,
    campaigns.id as campaign_id,
    location_map.location_id,
    ad_spends.spend_date as business_date,
    ad_spends.currency,
    ad_spends.spend,
    ad_spends.impressions,
    ad_spends.clicks,
    ad_spends.claimed_purchases,
    ad_spends.claimed_purchase_value,
    location_map.location_id is not null as is_allocated,
    ad_spends.spend_date > (clock.now at time zone 'UTC')::date - ad_spends.restated_for_days as is_provisional
from {{ ref('int_ad_spends__unioned') }} as ad_spends
inner join {{ ref('keys_ad_spend') }} as keys
    on ad_spends.source_id = keys.source_id
    and ad_spends.natural_key = keys.natural_key
inner join {{ ref('keys_source_campaign') }} as campaigns
    on ad_spends.source_id = campaigns.source_id
    and ad_spends.campaign_key = campaigns.natural_key
cross join {{ ref('stg_shard__clock') }} as clock
left join {{ ref('stg_shard__campaign_location_map') }} as location_map
    on campaigns.id = location_map.source_campaign_id
    and ad_spends.spend_date >= location_map.valid_from
    and ad_spends.spend_date < location_map.valid_to
