with source as (

    select * from {{ source('raw_square', 'locations_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'name' as location_name,
        payload ->> 'timezone' as timezone,
        payload ->> 'currency' as currency,
        payload ->> 'country' as country,
        payload #>> '{address,administrative_district_level_1}' as region,
        payload #>> '{address,locality}' as locality,
        payload #>> '{address,postal_code}' as postal_code,
        payload #>> '{address,address_line_1}' as address_line,

        -- booleans
        payload ->> 'status' = 'ACTIVE' as is_active,

        -- times
        (payload ->> 'created_at')::timestamptz as created_at

    from source

)

select * from renamed
