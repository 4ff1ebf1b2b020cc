{# The elements of a JSON array; none where it is missing, null or no array: one odd record must not stop a whole shard. #}
{% macro elements(array) -%}
jsonb_array_elements(case jsonb_typeof({{ array }}) when 'array' then {{ array }} end)
{%- endmacro %}
