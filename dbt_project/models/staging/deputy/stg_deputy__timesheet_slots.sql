with source as (

    select * from {{ source('raw_deputy', 'timesheets_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as shift_key,

        -- strings
        slot.value #>> '{mixedActivity,strBreakType}' as break_type,

        -- times
        to_timestamp((slot.value ->> 'intUnixStart')::bigint) as began_at,
        to_timestamp((slot.value ->> 'intUnixEnd')::bigint) as ended_at

    from source
    cross join lateral {{ elements("source.payload -> 'Slots'") }} as slot (value)
    where slot.value ->> 'strType' = 'B'

)

select * from renamed
