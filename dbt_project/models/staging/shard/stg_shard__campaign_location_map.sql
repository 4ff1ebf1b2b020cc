with source as (

    select * from {{ source('keys', 'campaign_location_map') }}

),

renamed as (

    select
        -- ids
        source_campaign_id,
        location_id,

        -- strings
        rule,
        decided_by,

        -- numerics
        confidence,

        -- dates and times
        valid_from,
        valid_to,
        decided_at

    from source

)

select * from renamed
