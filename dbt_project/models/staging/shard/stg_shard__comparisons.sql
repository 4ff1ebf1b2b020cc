with source as (

    select * from {{ source('keys', 'comparison') }}

),

renamed as (

    select
        -- ids
        business_id,

        -- strings
        period,
        reason,
        decided_by,

        -- dates and times
        begins_on,
        compared_with,
        decided_at

    from source

)

select * from renamed
