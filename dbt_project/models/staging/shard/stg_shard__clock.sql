with source as (

    select * from {{ source('keys', 'clock') }}

),

renamed as (

    select
        -- times
        coalesce(max(now), now()) as now

    from source

)

select * from renamed
