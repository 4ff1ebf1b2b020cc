with source as (

    select * from {{ source('raw_wheniwork', 'shifts_current') }}

),

renamed as (

    select
        -- ids; 0 is none
        source_id,
        natural_key as planned_shift_key,
        nullif(payload ->> 'user_id', '0') as employee_key,
        payload ->> 'location_id' as location_key,
        nullif(payload ->> 'position_id', '0') as position_key,

        -- booleans
        coalesce((payload ->> 'published')::boolean, false) as is_published,
        coalesce((payload ->> 'is_open')::boolean, false) as is_open,

        -- times; the break is written in hours
        (payload ->> 'start_time')::timestamptz as starts_at,
        (payload ->> 'end_time')::timestamptz as ends_at,
        (payload ->> 'break_time')::numeric * interval '1 hour' as planned_break

    from source

)

select * from renamed
