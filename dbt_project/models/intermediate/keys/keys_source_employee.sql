{{ config(facet=['source_id', 'root_key']) }}

-- Also people whom only a shift, a wage or a till names: they worked, and rang up what they did, all the same.
{%- set employees_of = {
    'int_employees__unioned': 'natural_key',
    'int_shifts__unioned': 'employee_key',
    'int_wages__unioned': 'employee_key',
    'int_sales__unioned': 'employee_key',
    'int_sale_items__unioned': 'employee_key',
    'int_discounts__unioned': 'employee_key',
    'int_refunds__unioned': 'employee_key',
} %}
{% for rows, key in employees_of.items() %}
select distinct
    source_id,
    {{ key }} as natural_key,
    root_key,
    source_id as parent_id
from {{ ref(rows) }}
where {{ key }} is not null
{{ 'union' if not loop.last }}
{% endfor %}
