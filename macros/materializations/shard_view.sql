{#
  shard_view: a view that exists where its vendor does, and is replaced without dropping what hangs from it.

  A model in a vendor's folder (staging/<vendor>, intermediate/<vendor>) is built only on shards where a source of that
  vendor lives; elsewhere there is nothing to read, and with hundreds of integrations thousands of empty views.
  dbt's own view materialization swaps by rename and drops the old one with cascade, so that readers' views vanish
  when only a part of the project is built.
#}
{% materialization shard_view, adapter='postgres' %}
  {%- set vendor = vendor_of_model() -%}
  {%- set target_relation = this.incorporate(type='view') -%}

  {%- if vendor is not none and vendor not in integrations_on_shard() -%}
    {% do store_raw_result('main', message='SKIP: no source of ' ~ vendor ~ ' on this shard', code='SKIP', rows_affected=0) %}
    {{ return({'relations': []}) }}
  {%- endif -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- do ensure_streams_of_model(vendor) -%}
  {%- set existing = load_cached_relation(this) -%}
  {%- if existing is not none and not existing.is_view -%}
    {%- do adapter.drop_relation(existing) -%}
  {%- endif -%}
  {%- if config.get('contract').enforced -%}
    {%- do get_assert_columns_equivalent(sql) -%}
  {%- endif %}

  {% call statement('main') -%}
    {{ replace_view_sql(target_relation, sql) }}
  {%- endcall %}
  {%- if follows_changes() -%}
    {%- do make_twin(sql) -%}
  {%- endif %}

  {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=False)) -%}
  {%- if existing is none -%}
    {%- do persist_docs(target_relation, model) -%}
  {%- endif -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#
  `create or replace view` keeps grants and dependants, but may only add columns at the end. For any other change of
  columns the view and what hangs from it are made anew; the dependants come right after it in the same build.
  `view_options` in the model's config are Postgres's, such as {'security_invoker': true}.
#}
{% macro replace_view_sql(relation, sql) -%}
  {%- set options = config.get('view_options') or {} -%}
  {%- set with_options -%}
    {%- if options %} with ({% for name, value in options.items() %}{{ name }} = {{ value }}{{ ', ' if not loop.last }}{% endfor %}){% endif -%}
  {%- endset -%}
do $larder_do$
begin
  create or replace view {{ relation }}{{ with_options }} as
  {{ sql }};
exception when invalid_table_definition then
  drop view {{ relation }} cascade;
  create view {{ relation }}{{ with_options }} as
  {{ sql }};
end
$larder_do$
{%- endmacro %}

{# The vendor whose folder the model is in, else none. A folder is a vendor's if there is a source raw_<folder>. #}
{% macro vendor_of_model() %}
  {%- do return(vendor_of_node(model)) -%}
{% endmacro %}

{% macro vendor_of_node(node) %}
  {%- set folder = node.fqn[2] if node.fqn | length > 3 else none -%}
  {%- set names = graph.sources.values() | map(attribute='source_name') | unique | list -%}
  {%- do return(folder if folder and ('raw_' ~ folder) in names else none) -%}
{% endmacro %}

{# Integrations with at least one source on this shard. Read at run time: the same compiled project serves every shard. #}
{% macro integrations_on_shard() %}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set found = run_query('select distinct integration from ' ~ builtins.source('keys', 'source') ~ ' order by 1') -%}
  {%- do return(found.columns[0].values() | list) -%}
{% endmacro %}

{# A source may be connected before its first record came: its stream tables are then made here, empty. #}
{% macro ensure_streams_of_model(vendor) %}
  {%- for node_id in model.depends_on.nodes if vendor is not none and node_id.startswith('source.') -%}
    {%- set stream_source = graph.sources[node_id] -%}
    {%- if stream_source.source_name == 'raw_' ~ vendor -%}
      {%- set stream = stream_source.identifier[:-('_current' | length)] -%}
      {%- call statement('ensure_stream') -%}
        select {{ builtins.source('raw_ledger', 'head').include(database=false, identifier=false) }}.ensure_stream('{{ vendor }}', '{{ stream }}')
      {%- endcall -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}
