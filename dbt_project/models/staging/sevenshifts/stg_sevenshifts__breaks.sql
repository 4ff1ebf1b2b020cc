with source as (

    select * from {{ source('raw_sevenshifts', 'time_punches_current') }}

),

unnested as (

    select
        source.source_id,
        source.natural_key as shift_key,
        break.payload
    from source
    cross join lateral jsonb_array_elements(nullif(source.payload -> 'breaks', 'null')) as break (payload)

),

renamed as (

    select
        -- ids
        source_id,
        shift_key,
        payload ->> 'id' as break_key,

        -- booleans
        coalesce((payload ->> 'paid')::boolean, false) as is_paid,
        coalesce((payload ->> 'deleted')::boolean, false) as is_deleted,

        -- times
        (payload ->> 'in')::timestamptz as began_at,
        nullif(payload ->> 'out', '0000-00-00 00:00:00')::timestamptz as ended_at

    from unnested

)

select * from renamed
