with source as (

    select * from {{ source('raw_clover', 'merchant_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'name' as location_name,
        payload #>> '{properties,timezone}' as timezone,
        coalesce(payload #>> '{properties,defaultCurrency}', payload ->> 'defaultCurrency') as currency,
        payload #>> '{address,country}' as country,
        payload #>> '{address,state}' as region,
        payload #>> '{address,city}' as locality,
        payload #>> '{address,zip}' as postal_code,
        concat_ws(
            ', ',
            nullif(payload #>> '{address,address1}', ''),
            nullif(payload #>> '{address,address2}', ''),
            nullif(payload #>> '{address,address3}', '')
        ) as address_line

    from source

)

select * from renamed
