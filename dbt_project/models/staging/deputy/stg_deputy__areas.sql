with source as (

    select * from {{ source('raw_deputy', 'operational_units_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as area_key,
        payload ->> 'Company' as location_key,

        -- strings
        payload ->> 'OperationalUnitName' as area_name,

        -- booleans
        coalesce((payload ->> 'Active')::boolean, true) as is_active

    from source

)

select * from renamed
