{# What builds report about themselves: one row a build of a model, written in the transaction that changed the rows. #}
{% macro prepare_model_change() -%}
  {%- if execute -%}
    {%- do log('Target ' ~ target.name ~ ': ' ~ ('development, in ' ~ target.schema ~ ' alone' if is_development() else 'PRODUCTION'), info=true) -%}
  {%- endif -%}
  {%- set log_table = builtins.source('meta', 'model_change') -%}
  begin;
  select pg_advisory_xact_lock(hashtextextended('{{ log_table.render() }}', 0));
  create schema if not exists {{ log_table.include(database=false, identifier=false) }};
  create table if not exists {{ log_table }} (
    model text not null,
    xid xid8 not null default pg_current_xact_id(),
    run_at timestamptz not null default clock_timestamp(),
    inserted bigint not null,
    deleted bigint not null,
    unchanged bigint not null,
    seconds numeric(12, 3) not null,
    invocation_id text not null,
    primary key (model, xid)
  );
  commit
{%- endmacro %}

{% macro record_model_change(inserted, deleted, unchanged) %}
  {%- call statement('record_model_change') -%}
    insert into {{ builtins.source('meta', 'model_change') }} (model, inserted, deleted, unchanged, seconds, invocation_id)
    values (
      '{{ model.name }}', {{ inserted }}, {{ deleted }}, {{ unchanged }},
      extract(epoch from clock_timestamp() - now()), '{{ invocation_id }}'
    )
  {%- endcall -%}
  {%- do store_raw_result(
      'main',
      message=inserted ~ ' inserted, ' ~ deleted ~ ' deleted, ' ~ unchanged ~ ' unchanged',
      code='APPLY',
      rows_affected=inserted + deleted) -%}
{% endmacro %}
