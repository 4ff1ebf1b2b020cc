with source as (

    select * from {{ source('raw_sevenshifts', 'time_punches_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as shift_key,
        payload ->> 'user_id' as employee_key,
        payload ->> 'location_id' as location_key,
        payload ->> 'role_id' as role_key,

        -- booleans
        coalesce((payload ->> 'approved')::boolean, false) as is_approved,
        coalesce((payload ->> 'deleted')::boolean, false) as is_deleted,

        -- times; an open punch was '0000-00-00 00:00:00' in the vendor's older API
        (payload ->> 'clocked_in')::timestamptz as clocked_in_at,
        nullif(payload ->> 'clocked_out', '0000-00-00 00:00:00')::timestamptz as clocked_out_at

    from source

)

select * from renamed
