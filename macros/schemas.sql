{#
  Two kinds of targets. Production (schema `marts`): every model in its layer's schema, behind the shard's namespace (LARDER_SCHEMA_PREFIX).
  Development (schema `dev_<user>`): every model in that one schema, so that dropping it leaves no trace.
#}
{% macro is_development() -%}
  {%- do return(target.schema.startswith('dev_')) -%}
{%- endmacro %}

{% macro generate_schema_name(custom_schema_name, node) -%}
  {%- if is_development() -%}
    {{ target.schema }}
  {%- else -%}
    {{ env_var('LARDER_SCHEMA_PREFIX', '') }}{{ custom_schema_name or 'marts' }}
  {%- endif -%}
{%- endmacro %}

{#
  `keys_sale` is keys.sale itself in production, and a table of its own in a development schema; `bi_fct_sale` is
  bi.fct_sale in production.
#}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
  {%- if custom_alias_name -%}
    {{ custom_alias_name }}
  {%- elif node.name.startswith('keys_') and not is_development() -%}
    {{ node.name[5:] }}
  {%- elif node.name.startswith('bi_') and not is_development() -%}
    {{ node.name[3:] }}
  {%- else -%}
    {{ node.name }}
  {%- endif -%}
{%- endmacro %}

{# A function of the shard's keys schema, such as make_id. By the schema's name, as unit tests know no sources. #}
{% macro keys_function(name) -%}
  {{ adapter.quote(env_var('LARDER_SCHEMA_PREFIX', '') ~ 'keys') }}.{{ name }}
{%- endmacro %}

{# The business that an id bears in its bits, as an id. #}
{% macro business_id_of(id) -%}
{{ keys_function('make_id') }}({{ keys_function('business_of') }}({{ id }}), 0)
{%- endmacro %}
