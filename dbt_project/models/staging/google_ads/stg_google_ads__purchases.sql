with source as (

    select * from {{ source('raw_google_ads', 'purchases_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as ad_spend_key,

        -- numerics
        (payload #>> '{metrics,conversions}')::numeric as purchases,
        (payload #>> '{metrics,conversionsValue}')::numeric as purchase_value

    from source

)

select * from renamed
