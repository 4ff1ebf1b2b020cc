with source as (

    select * from {{ source('raw_square', 'timecards_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as shift_key,
        break.value ->> 'id' as break_key,

        -- booleans
        coalesce((break.value ->> 'is_paid')::boolean, false) as is_paid,

        -- times
        (break.value ->> 'start_at')::timestamptz as began_at,
        (break.value ->> 'end_at')::timestamptz as ended_at

    from source
    cross join lateral {{ elements("source.payload -> 'breaks'") }} as break (value)

)

select * from renamed
