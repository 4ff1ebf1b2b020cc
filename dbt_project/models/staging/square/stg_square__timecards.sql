with source as (

    select * from {{ source('raw_square', 'timecards_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as shift_key,
        payload ->> 'team_member_id' as employee_key,
        payload ->> 'location_id' as location_key,
        coalesce(payload #>> '{wage,job_id}', payload #>> '{wage,title}') as job_key,

        -- strings
        payload #>> '{wage,hourly_rate,currency}' as currency,

        -- numerics
        {{ from_minor_units("(payload #> '{wage,hourly_rate}')") }} as hourly_rate,

        -- times
        (payload ->> 'start_at')::timestamptz as started_at,
        (payload ->> 'end_at')::timestamptz as ended_at

    from source

)

select * from renamed
