with source as (

    select * from {{ source('raw_wheniwork', 'times_current') }}

),

renamed as (

    select
        -- ids; 0 is none
        source_id,
        natural_key as shift_key,
        payload ->> 'user_id' as employee_key,
        payload ->> 'location_id' as location_key,
        nullif(payload ->> 'position_id', '0') as position_key,
        nullif(payload ->> 'shift_id', '0') as planned_shift_key,

        -- numerics
        (payload ->> 'hourly_rate')::numeric as hourly_rate,

        -- booleans
        coalesce((payload ->> 'is_approved')::boolean, false) as is_approved,

        -- times
        (payload ->> 'start_time')::timestamptz as started_at,
        nullif(payload ->> 'end_time', '')::timestamptz as ended_at

    from source

)

select * from renamed
