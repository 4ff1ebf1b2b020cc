with source as (

    select * from {{ source('raw_deputy', 'timesheets_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as shift_key,

        -- strings
        lower(pause.direction) as direction,

        -- times
        to_timestamp(pause.epoch::bigint) as punched_at

    from source
    cross join lateral jsonb_each_text(
        case jsonb_typeof(source.payload -> 'MealbreakSlots') when 'object' then source.payload -> 'MealbreakSlots' end
    ) as pause (epoch, direction)

)

select * from renamed
