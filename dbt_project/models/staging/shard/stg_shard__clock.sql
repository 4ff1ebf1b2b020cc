with source as (

    select * from {{ source('keys', 'clock') }}

),

renamed as (

    select coalesce(max(now), now()) as now

    from source

)

select * from renamed
