with source as (

    select * from {{ source('raw_meta_ads', 'insights_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as ad_spend_key,
        payload ->> 'account_id' as account_key,
        payload ->> 'campaign_id' as campaign_key,

        -- strings
        payload ->> 'campaign_name' as campaign_name,
        payload ->> 'account_currency' as currency,

        -- numerics
        (payload ->> 'spend')::numeric as spend,
        (payload ->> 'impressions')::bigint as impressions,
        (payload ->> 'clicks')::bigint as clicks,

        -- dates
        (payload ->> 'date_start')::date as spend_date

    from source

)

select * from renamed
