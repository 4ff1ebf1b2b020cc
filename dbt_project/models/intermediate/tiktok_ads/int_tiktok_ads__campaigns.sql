-- A campaign that is listed no more keeps what it spent; its name is then the one of its last report.
with listed as (

    select * from {{ ref('stg_tiktok_ads__campaigns') }}

),

reported as (

    select distinct on (source_id, campaign_key)
        source_id,
        campaign_key,
        account_key,
        campaign_name
    from {{ ref('stg_tiktok_ads__ad_spends') }}
    order by source_id, campaign_key, spend_date desc

)

select
    coalesce(listed.source_id, reported.source_id) as source_id,
    coalesce(listed.campaign_key, reported.campaign_key) as natural_key,
    coalesce(listed.account_key, reported.account_key) as account_key,
    coalesce(listed.campaign_name, reported.campaign_name) as campaign_name,
    case
        when listed.campaign_key is null or listed.secondary_status = 'campaign_status_delete' then 'deleted'
        when listed.operation_status = 'enable' then 'active'
        when listed.operation_status = 'disable' then 'paused'
        else listed.operation_status
    end as campaign_status,
    listed.objective
from listed
full join reported
    on listed.source_id = reported.source_id
    and listed.campaign_key = reported.campaign_key
