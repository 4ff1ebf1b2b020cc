with source as (

    select * from {{ source('raw_tiktok_ads', 'daily_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as ad_spend_key,
        payload #>> '{_context,advertiser_id}' as account_key,
        payload #>> '{dimensions,campaign_id}' as campaign_key,

        -- strings
        payload #>> '{metrics,campaign_name}' as campaign_name,

        -- numerics
        (payload #>> '{metrics,spend}')::numeric as spend,
        (payload #>> '{metrics,impressions}')::bigint as impressions,
        (payload #>> '{metrics,clicks}')::bigint as clicks,
        (payload #>> '{metrics,conversion}')::bigint as conversions,
        (payload #>> '{metrics,complete_payment}')::bigint as purchases,
        (payload #>> '{metrics,total_complete_payment_rate}')::numeric as purchase_value,

        -- dates
        (payload #>> '{dimensions,stat_time_day}')::date as spend_date

    from source

)

select * from renamed
