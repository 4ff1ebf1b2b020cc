with source as (

    select * from {{ source('raw_deputy', 'employees_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'Company', '0') as location_key,

        -- strings
        coalesce(
            nullif(payload ->> 'DisplayName', ''),
            nullif(concat_ws(' ', payload ->> 'FirstName', payload ->> 'LastName'), '')
        ) as employee_name,
        nullif(payload #>> '{ContactObject,Email1}', '') as email,

        -- booleans
        coalesce((payload ->> 'Active')::boolean, true) as is_active,

        -- dates, written as the local midnight at which they begin
        left(nullif(payload ->> 'StartDate', ''), 10)::date as hired_on,
        left(nullif(payload ->> 'TerminationDate', ''), 10)::date as left_on

    from source

)

select * from renamed
