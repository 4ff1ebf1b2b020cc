with source as (

    select * from {{ source('raw_deputy', 'employee_agreements_current') }}

),

renamed as (

    select
        -- ids
        source_id,
        natural_key as agreement_key,
        payload ->> 'EmployeeId' as employee_key,
        nullif(payload ->> 'PayrollId', '') as payroll_id,

        -- numerics
        (payload ->> 'BaseRate')::numeric as base_rate,
        (payload ->> 'AnnualSalary')::numeric as annual_salary,

        -- booleans
        coalesce((payload ->> 'Active')::boolean, true) as is_active,

        -- dates, written as the local midnight at which they begin
        left(
            coalesce(nullif(payload ->> 'EffectiveDate', ''), payload ->> 'StartDate', payload ->> 'Created'), 10
        )::date as effective_on

    from source

)

select * from renamed
