with source as (

    select * from {{ source('raw_sevenshifts', 'locations_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'name' as location_name,
        payload ->> 'timezone' as timezone,
        payload ->> 'country' as country,
        payload ->> 'state' as region,
        payload ->> 'city' as locality,
        payload ->> 'formatted_address' as address_line

    from source

)

select * from renamed
