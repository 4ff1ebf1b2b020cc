with source as (

    select * from {{ source('raw_tiktok_ads', 'campaigns_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as campaign_key,
        payload ->> 'advertiser_id' as account_key,

        -- strings
        payload ->> 'campaign_name' as campaign_name,
        lower(payload ->> 'operation_status') as operation_status,
        lower(payload ->> 'secondary_status') as secondary_status,
        payload ->> 'objective_type' as objective

    from source

)

select * from renamed
