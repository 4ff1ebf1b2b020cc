with source as (

    select * from {{ source('raw_ledger', 'loaded_blocks') }}

),

renamed as (

    select
        -- ids
        block_id,
        generation,
        source_id,

        -- strings
        stream,

        -- numerics
        records,

        -- times
        observed_at,
        loaded_at

    from source

)

select * from renamed
