with source as (

    select * from {{ source('raw_ledger', 'quarantine') }}

),

renamed as (

    select
        -- ids
        quarantine_id,
        block_id,
        generation,
        source_id,

        -- strings
        stream,
        reason,

        -- booleans
        state = 'open' as is_open,

        -- dates
        business_date

    from source

)

select * from renamed
