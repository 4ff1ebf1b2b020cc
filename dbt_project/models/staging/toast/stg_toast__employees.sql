with source as (

    select * from {{ source('raw_toast', 'employees_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        payload #>> '{_context,restaurant}' as location_key,

        -- strings
        payload ->> 'firstName' as first_name,
        payload ->> 'chosenName' as chosen_name,
        payload ->> 'lastName' as last_name,
        payload ->> 'email' as email,
        payload ->> 'externalEmployeeId' as external_employee_id,

        -- booleans
        coalesce((payload ->> 'deleted')::boolean, false) as is_archived

    from source

)

select * from renamed
