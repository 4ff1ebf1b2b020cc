with source as (

    select * from {{ source('raw_square', 'team_members_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'reference_id', '') as reference_id,
        case
            when jsonb_array_length(jsonb_path_query_array(payload, '$.assigned_locations.location_ids[*]')) = 1
                then payload #>> '{assigned_locations,location_ids,0}'
        end as only_location_key,

        -- strings
        nullif(payload ->> 'given_name', '') as given_name,
        nullif(payload ->> 'family_name', '') as family_name,
        nullif(payload ->> 'email_address', '') as email,

        -- booleans
        payload ->> 'status' = 'ACTIVE' as is_active

    from source

)

select * from renamed
