{#
  dbt compares a unit test's rows as text, in which 50 and 50.0000 differ although they are one number. Both sides lose
  their trailing zeros here, so that an expected amount can be written as a person writes it.
#}
{% macro postgres__get_unit_test_sql(main_sql, expected_fixture_sql, expected_column_names) -%}
  {%- set compared = [] -%}
  {%- set types = {} -%}
  {%- for column in get_column_schema_from_query(main_sql) -%}
    {%- do types.update({adapter.quote(column.name): column.dtype | lower}) -%}
  {%- endfor -%}
  {%- for name in expected_column_names -%}
    {%- set is_number = types[name].startswith('numeric') or types[name].startswith('decimal') -%}
    {%- do compared.append('trim_scale(' ~ name ~ ') as ' ~ name if is_number else name) -%}
  {%- endfor -%}
  select {{ compared | join(', ') }}, 'actual' as {{ adapter.quote('actual_or_expected') }}
  from (
    {{ main_sql }}
  ) as actual
  union all
  select {{ compared | join(', ') }}, 'expected' as {{ adapter.quote('actual_or_expected') }}
  from (
    {{ expected_fixture_sql }}
  ) as expected
{%- endmacro %}
