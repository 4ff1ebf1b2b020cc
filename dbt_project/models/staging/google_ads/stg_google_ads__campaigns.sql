with source as (

    select * from {{ source('raw_google_ads', 'campaigns_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as campaign_key,
        split_part(payload #>> '{campaign,resourceName}', '/', 2) as account_key,

        -- strings
        payload #>> '{campaign,name}' as campaign_name,
        lower(payload #>> '{campaign,status}') as campaign_status,
        payload #>> '{campaign,advertisingChannelType}' as channel_type

    from source

)

select * from renamed
