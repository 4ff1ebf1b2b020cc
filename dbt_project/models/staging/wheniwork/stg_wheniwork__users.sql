with source as (

    select * from {{ source('raw_wheniwork', 'users_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'employee_code', '') as employee_code,
        case
            when jsonb_array_length(jsonb_path_query_array(payload, '$.locations[*]')) = 1
                then payload #>> '{locations,0}'
        end as only_location_key,

        -- strings
        nullif(payload ->> 'first_name', '') as first_name,
        nullif(payload ->> 'last_name', '') as last_name,
        nullif(payload ->> 'email', '') as email,

        -- numerics
        (payload ->> 'hourly_rate')::numeric as hourly_rate,

        -- booleans; the second bit of the type is a salary
        coalesce((payload ->> 'type')::integer, 0) & 2 > 0 as is_salaried,
        coalesce((payload ->> 'is_deleted')::boolean, false) as is_deleted

    from source

)

select * from renamed
