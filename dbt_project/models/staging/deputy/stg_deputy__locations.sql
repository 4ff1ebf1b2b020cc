with source as (

    select * from {{ source('raw_deputy', 'companies_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as location_key,

        -- strings
        payload ->> 'CompanyName' as location_name,
        nullif(payload #>> '{_context,time_zone}', '') as timezone,
        nullif(payload #>> '{AddressObject,State}', '') as region,
        nullif(payload #>> '{AddressObject,City}', '') as locality,
        nullif(payload #>> '{AddressObject,Postcode}', '') as postal_code,
        nullif(payload #>> '{AddressObject,Street1}', '') as address_line,

        -- booleans
        coalesce((payload ->> 'Active')::boolean, true) as is_active

    from source

)

select * from renamed
