with source as (

    select * from {{ source('raw_clover', 'employees_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as employee_key,
        nullif(payload ->> 'customId', '') as payroll_id,

        -- strings
        nullif(payload ->> 'name', '') as employee_name,
        nullif(payload ->> 'email', '') as email,

        -- times
        {{ from_epoch_ms("payload ->> 'deletedTime'") }} as deleted_at

    from source

)

select * from renamed
