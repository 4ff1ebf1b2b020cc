-- Google lists removed campaigns too; should one be missing all the same, its name is the one of its last report.
with listed as (

    select * from {{ ref('stg_google_ads__campaigns') }}

),

reported as (

    select distinct on (source_id, campaign_key)
        source_id,
        campaign_key,
        account_key,
        campaign_name
    from {{ ref('stg_google_ads__ad_spends') }}
    order by source_id, campaign_key, spend_date desc

)

select
    coalesce(listed.source_id, reported.source_id) as source_id,
    coalesce(listed.campaign_key, reported.campaign_key) as natural_key,
    coalesce(listed.account_key, reported.account_key) as account_key,
    coalesce(listed.campaign_name, reported.campaign_name) as campaign_name,
    case coalesce(listed.campaign_status, 'removed')
        when 'enabled' then 'active'
        when 'removed' then 'deleted'
        else listed.campaign_status
    end as campaign_status,
    listed.channel_type as objective
from listed
full join reported
    on listed.source_id = reported.source_id
    and listed.campaign_key = reported.campaign_key
