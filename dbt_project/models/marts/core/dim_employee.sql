{{ config(unique_key='employee_id') }}

-- Where several vendors know a person, the first connection that knows a detail gives it.
with mapped as (

    select
        employee_map.employee_id,
        source_employees.source_id,
        employees.employee_name,
        employees.payroll_id,
        employees.email,
        employees.is_active,
        employees.hired_on
    from {{ ref('keys_employee_map') }} as employee_map
    inner join {{ ref('keys_source_employee') }} as source_employees
        on employee_map.source_employee_id = source_employees.id
    left join {{ ref('int_employees__unioned') }} as employees
        on source_employees.source_id = employees.source_id
        and source_employees.natural_key = employees.natural_key
    where employee_map.valid_to = 'infinity'

),

details as (

    select
        employee_id,
        (array_agg(employee_name order by source_id) filter (where employee_name is not null))[1] as employee_name,
        (array_agg(payroll_id order by source_id) filter (where payroll_id is not null))[1] as payroll_id,
        (array_agg(email order by source_id) filter (where email is not null))[1] as email,
        bool_or(is_active) as is_active,
        min(hired_on) as hired_on,
        count(*)::integer as vendor_records
    from mapped
    group by employee_id

)

select
    keys.id as employee_id,
    keys.parent_id as business_id,
    coalesce(details.employee_name, keys.name) as employee_name,
    details.payroll_id,
    details.email,
    coalesce(details.is_active, false) as is_active,
    details.hired_on,
    coalesce(details.vendor_records, 0) as vendor_records
from {{ ref('keys_employee') }} as keys
left join details
    on keys.id = details.employee_id
