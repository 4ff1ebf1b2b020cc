with source as (

    select * from {{ source('raw_deputy', 'rosters_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as planned_shift_key,
        nullif(payload ->> 'Employee', '0') as employee_key,
        payload ->> 'OperationalUnit' as area_key,

        -- booleans
        coalesce((payload ->> 'Published')::boolean, false) as is_published,
        coalesce((payload ->> 'Open')::boolean, false) as is_open,

        -- times
        to_timestamp((payload ->> 'StartTime')::bigint) as starts_at,
        to_timestamp((payload ->> 'EndTime')::bigint) as ends_at,
        coalesce(substring(payload ->> 'Mealbreak' from 12 for 8)::interval, '0') as meal_break

    from source

)

select * from renamed
