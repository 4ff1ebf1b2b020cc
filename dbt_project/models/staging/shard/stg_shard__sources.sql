with source as (

    select * from {{ source('keys', 'source') }}

),

renamed as (

    select
        -- ids
        id as source_id,
        {{ keys_function('make_id') }}({{ keys_function('business_of') }}(id), 0) as business_id,

        -- strings
        integration,
        name as source_name,

        -- timestamps
        (config ->> 'since')::timestamptz as history_begins_at

    from source

)

select * from renamed
