with source as (

    select * from {{ source('raw_wheniwork', 'shift_breaks_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as break_key,
        payload ->> 'timeId' as shift_key,

        -- numerics
        make_interval(mins => (payload ->> 'length')::integer) as length,

        -- booleans
        payload ->> 'type' = '1' as is_paid,

        -- times
        nullif(payload ->> 'start', '')::timestamptz as began_at,
        nullif(payload ->> 'end', '')::timestamptz as ended_at

    from source

)

select * from renamed
