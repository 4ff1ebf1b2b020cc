with source as (

    select * from {{ source('raw_lightspeed_r', 'shops_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'name' as location_name,
        nullif(payload ->> 'timeZone', '') as timezone,
        nullif(payload #>> '{Contact,Addresses,ContactAddress,countryCode}', '') as country,
        nullif(payload #>> '{Contact,Addresses,ContactAddress,state}', '') as region,
        nullif(payload #>> '{Contact,Addresses,ContactAddress,city}', '') as locality,
        nullif(payload #>> '{Contact,Addresses,ContactAddress,zip}', '') as postal_code,
        nullif(payload #>> '{Contact,Addresses,ContactAddress,address1}', '') as address_line,

        -- booleans
        coalesce(nullif(payload ->> 'archived', '')::boolean, false) as is_archived

    from source

)

select * from renamed
