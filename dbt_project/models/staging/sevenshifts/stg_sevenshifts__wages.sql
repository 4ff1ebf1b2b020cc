with source as (

    select * from {{ source('raw_sevenshifts', 'wages_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as wage_key,
        payload -> '_context' ->> 'user_id' as employee_key,
        payload ->> 'role_id' as role_key,

        -- strings
        payload ->> 'wage_type' as wage_type,

        -- numerics
        (payload ->> 'wage_cents')::numeric / 100 as wage,

        -- dates
        (payload ->> 'effective_date')::date as effective_on

    from source

)

select * from renamed
