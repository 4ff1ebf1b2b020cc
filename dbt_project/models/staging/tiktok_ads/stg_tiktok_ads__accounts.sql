with source as (

    select * from {{ source('raw_tiktok_ads', 'advertisers_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as account_key,

        -- strings
        payload ->> 'name' as account_name,
        payload ->> 'currency' as currency,
        payload ->> 'timezone' as timezone

    from source

)

select * from renamed
