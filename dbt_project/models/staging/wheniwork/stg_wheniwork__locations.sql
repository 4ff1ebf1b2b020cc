with source as (

    select * from {{ source('raw_wheniwork', 'locations_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings; a location is in the time zone of its account
        payload ->> 'name' as location_name,
        nullif(payload #>> '{_context,time_zone}', '') as timezone,
        nullif(payload ->> 'address', '') as address_line

    from source

)

select * from renamed
