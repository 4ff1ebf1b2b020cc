with source as (

    select * from {{ source('raw_google_ads', 'daily_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as ad_spend_key,
        split_part(payload #>> '{campaign,resourceName}', '/', 2) as account_key,
        payload #>> '{campaign,id}' as campaign_key,

        -- strings
        payload #>> '{campaign,name}' as campaign_name,
        payload #>> '{customer,currencyCode}' as currency,

        -- numerics
        (payload #>> '{metrics,costMicros}')::numeric / 1000000 as spend,
        (payload #>> '{metrics,impressions}')::bigint as impressions,
        (payload #>> '{metrics,clicks}')::bigint as clicks,
        (payload #>> '{metrics,conversions}')::numeric as conversions,
        (payload #>> '{metrics,conversionsValue}')::numeric as conversions_value,

        -- dates
        (payload #>> '{segments,date}')::date as spend_date

    from source

)

select * from renamed
