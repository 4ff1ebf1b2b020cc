with source as (

    select * from {{ source('raw_google_business', 'locations_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'title' as location_name,
        payload #>> '{openInfo,status}' as opening_status,
        payload #>> '{storefrontAddress,regionCode}' as country,
        payload #>> '{storefrontAddress,administrativeArea}' as region,
        payload #>> '{storefrontAddress,locality}' as locality,
        payload #>> '{storefrontAddress,postalCode}' as postal_code,
        payload #>> '{storefrontAddress,addressLines,0}' as address_line

    from source

)

select * from renamed
