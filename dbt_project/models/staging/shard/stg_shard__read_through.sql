with source as (

    select * from {{ source('raw_ledger', 'read_through') }}

),

renamed as (

    select
        -- ids
        source_id,

        -- strings
        stream,

        -- times
        observed_at

    from source

)

select * from renamed
