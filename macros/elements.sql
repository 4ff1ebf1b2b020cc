{# The elements of a JSON array; none where it is missing, null or no array: one odd record must not stop a whole shard. #}
{% macro elements(array) -%}
jsonb_array_elements(case jsonb_typeof({{ array }}) when 'array' then {{ array }} end)
{%- endmacro %}

{# A JSON array of what a vendor writes as an object when it is one, and as an array when it is several. #}
{% macro one_or_many(children) -%}
case jsonb_typeof({{ children }}) when 'object' then jsonb_build_array({{ children }}) else {{ children }} end
{%- endmacro %}
