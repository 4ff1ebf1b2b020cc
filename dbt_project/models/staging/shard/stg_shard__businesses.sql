with source as (

    select * from {{ source('keys', 'route') }}

),

renamed as (

    select
        -- ids
        {{ keys_function('make_id') }}(business, 0) as business_id,
        business as business_number,

        -- strings
        name as business_slug,
        display_name as business_name,
        reporting_currency,

        -- numerics
        first_weekday,

        -- booleans
        state = 'active' as is_active

    from source

)

select * from renamed
