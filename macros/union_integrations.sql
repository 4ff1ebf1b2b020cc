{#
  All integrations' rows of one unified entity, as one SELECT with the columns and types of the model's YAML.

  Every integration that feeds the entity is a parent in the lineage (int_<vendor>__<entity>s); on a shard only those
  with a source there are read. Where there is none the result is empty and typed.
#}
{% macro union_integrations(entity) -%}
  {%- set parents = {} -%}
  {%- for vendor in integrations_feeding(entity) -%}
    {%- do parents.update({vendor: ref('int_' ~ vendor ~ '__' ~ entity ~ 's')}) -%}
  {%- endfor -%}
  {%- set here = integrations_on_shard() -%}
  {%- set selects = [] -%}
  {%- for vendor, parent in parents.items() if vendor in here -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
      {%- do columns.append('cast(' ~ column.name ~ ' as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
    {%- endfor -%}
    {%- do selects.append('select\n    ' ~ columns | join(',\n    ') ~ '\nfrom ' ~ parent) -%}
  {%- endfor -%}
  {%- if selects -%}
    {{ selects | join('\nunion all\n') }}
  {%- else -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
      {%- do columns.append('cast(null as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
    {%- endfor -%}
    select
    {{ columns | join(',\n    ') or 'null' }}
where false
  {%- endif -%}
{%- endmacro %}
