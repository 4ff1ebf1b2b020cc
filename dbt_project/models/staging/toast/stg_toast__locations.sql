with source as (

    select * from {{ source('raw_toast', 'restaurants_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        concat_ws(
            ' – ',
            payload #>> '{general,name}',
            nullif(payload #>> '{general,locationName}', payload #>> '{general,name}')
        ) as location_name,
        payload #>> '{general,timeZone}' as timezone,
        payload #>> '{general,currencyCode}' as currency,
        payload #>> '{location,country}' as country,
        payload #>> '{location,stateCode}' as region,
        payload #>> '{location,city}' as locality,
        payload #>> '{location,zipCode}' as postal_code,
        payload #>> '{location,address1}' as address_line,

        -- numerics
        (payload #>> '{general,closeoutHour}')::integer as closeout_hour

    from source

)

select * from renamed
