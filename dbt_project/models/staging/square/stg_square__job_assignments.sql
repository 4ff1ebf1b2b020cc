with source as (

    select * from {{ source('raw_square', 'team_members_current') }}

),

renamed as (

    select
        -- ids
        source.source_id,
        source.natural_key as employee_key,
        coalesce(job.value ->> 'job_id', job.value ->> 'job_title', '') as job_key,

        -- strings
        lower(job.value ->> 'pay_type') as pay_type,
        coalesce(job.value #>> '{annual_rate,currency}', job.value #>> '{hourly_rate,currency}') as currency,

        -- numerics
        {{ from_minor_units("(job.value -> 'hourly_rate')") }} as hourly_rate,
        {{ from_minor_units("(job.value -> 'annual_rate')") }} as annual_rate,

        -- times
        (source.payload #>> '{wage_setting,created_at}')::timestamptz as created_at

    from source
    cross join lateral {{ elements("source.payload #> '{wage_setting,job_assignments}'") }} as job (value)

)

select * from renamed
