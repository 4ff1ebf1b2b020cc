{#
  Who stood at the till: the vendor's person and the business's own, on the row's business date. Both null where the row's
  `employee_key` is null. Gives source_employees.id and employee_map.employee_id; the rows need source_id, employee_key.
#}
{% macro join_employee(rows, business_date) -%}
left join {{ ref('keys_source_employee') }} as source_employees
    on {{ rows }}.source_id = source_employees.source_id
    and {{ rows }}.employee_key = source_employees.natural_key
left join {{ ref('keys_employee_map') }} as employee_map
    on source_employees.id = employee_map.source_employee_id
    and {{ business_date }} >= employee_map.valid_from
    and {{ business_date }} < employee_map.valid_to
{%- endmacro %}

{#
  The two columns: what join_employee found, and where the row names nobody what it inherits, its own source_employee_id
  and employee_id (an order's, a line's).
#}
{% macro employee_or_inherited(rows) -%}
case
        when {{ rows }}.employee_key is null then {{ rows }}.source_employee_id
        else source_employees.id
    end as source_employee_id,
    case
        when {{ rows }}.employee_key is null then {{ rows }}.employee_id
        else employee_map.employee_id
    end as employee_id
{%- endmacro %}

{# facet_from of what joins them, beside `others`: the records of `rows` that name a person whose keys changed. #}
{% macro employee_facets(rows, others={}) -%}
  {%- set facet_from = {
    'keys_source_employee': "
      select rows_of.source_id, rows_of.root_key
      from changed
      inner join " ~ rows ~ " as rows_of
        on rows_of.source_id = changed.source_id and rows_of.employee_key = changed.natural_key
    ",
    'keys_employee_map': "
      select rows_of.source_id, rows_of.root_key
      from changed
      inner join keys_source_employee as people on people.id = changed.source_employee_id
      inner join " ~ rows ~ " as rows_of
        on rows_of.source_id = people.source_id and rows_of.employee_key = people.natural_key
    ",
  } -%}
  {%- do facet_from.update(others) -%}
  {{ return(facet_from) }}
{%- endmacro %}
