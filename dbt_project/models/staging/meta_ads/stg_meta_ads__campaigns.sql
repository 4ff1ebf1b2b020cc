with source as (

    select * from {{ source('raw_meta_ads', 'campaigns_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as campaign_key,
        payload ->> 'account_id' as account_key,

        -- strings
        payload ->> 'name' as campaign_name,
        lower(payload ->> 'status') as campaign_status,
        payload ->> 'objective' as objective

    from source

)

select * from renamed
