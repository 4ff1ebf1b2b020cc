with source as (

    select * from {{ source('raw_sevenshifts', 'users_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'employee_id', '') as payroll_id,

        -- strings
        nullif(payload ->> 'first_name', '') as first_name,
        nullif(payload ->> 'last_name', '') as last_name,
        nullif(payload ->> 'email', '') as email,

        -- booleans
        (payload ->> 'active')::boolean as is_active,

        -- dates
        nullif(payload ->> 'hire_date', '')::date as hired_on

    from source

)

select * from renamed
