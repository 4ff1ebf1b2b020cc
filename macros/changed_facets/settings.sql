{# What a project may decide about changed_facets. Everything else in this folder needs no change. #}

{# Schema of marks, feeds and the record of changes. #}
{% macro changed_facets_schema() -%}
  {{ return(generate_schema_name('meta', none) | trim) }}
{%- endmacro %}

{# Targets that follow changes; on others every model is computed whole, and no mark or feed is written. #}
{% macro follows_changes() -%}
  {{ return(not target.schema.startswith('dev_')) }}
{%- endmacro %}

{# Materializations whose tables publish what changed in them. #}
{% macro publishing_materializations() -%}
  {{ return(['changed_facets', 'key_table']) }}
{%- endmacro %}

{# Materializations that follow feeds, and so bear marks. #}
{% macro following_materializations() -%}
  {{ return(['changed_facets', 'key_table', 'conformed_key_table']) }}
{%- endmacro %}

{# A mark this far behind its feeds is dropped, and its model computed whole next time: one broken model grows no feed for ever. #}
{% macro longest_lag() -%}
  {{ return({'days': var('changed_facets_lag_days', 7), 'entries': var('changed_facets_lag_entries', 5000000)}) }}
{%- endmacro %}

{# Macros whose text may change without changing any model's meaning, such as a generated list of what exists. #}
{% macro macros_without_effect() -%}
  {{ return(['integrations_feeding']) }}
{%- endmacro %}
