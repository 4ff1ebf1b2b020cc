{{ config(facet=['source_id', 'root_key']) }}

-- Also people whom only a shift or a wage names: their hours are worked and cost money all the same.
select distinct
    source_id,
    natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_employees__unioned') }}

union

select distinct
    source_id,
    employee_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_shifts__unioned') }}

union

select distinct
    source_id,
    employee_key as natural_key,
    root_key,
    source_id as parent_id
from {{ ref('int_wages__unioned') }}
