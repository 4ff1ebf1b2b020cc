{{ config(materialized='conformed_key_table', meta={'feed': {'table': 'feed__employee', 'beside': 'keys.employee'}}) }}

-- Recognised by payroll id, then by e-mail; never by name.
with source_employees as (

    select
        keys.id as source_employee_id,
        keys.source_id,
        keys.natural_key,
        employees.employee_name,
        employees.payroll_id,
        employees.email
    from {{ ref('keys_source_employee') }} as keys
    left join {{ ref('int_employees__unioned') }} as employees
        on keys.source_id = employees.source_id
        and keys.natural_key = employees.natural_key

)

select
    source_employee_id,
    source_id,
    coalesce(employee_name, 'employee ' || natural_key) as name,
    1 as priority,
    'payroll_id' as rule,
    payroll_id as match_key
from source_employees

union all

select
    source_employee_id,
    source_id,
    coalesce(employee_name, 'employee ' || natural_key) as name,
    2 as priority,
    'email' as rule,
    email as match_key
from source_employees
