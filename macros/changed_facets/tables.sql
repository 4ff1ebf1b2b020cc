{#
  The tables of the meta schema, made before anything runs:

    mark          up to which snapshot a model has seen its parents' feeds, and from which code it was built
    feed          one row a feed; its epoch changes when entries can no longer tell what changed (a table made anew)
    feed__<model> keys, old and new, of rows that changed, with the transaction that changed them
    model_change  one row for each build that changed rows
    run           the snapshot with which each invocation of dbt began: what its tests have seen
#}
{% macro prepare_changed_facets() -%}
  {%- if execute and not follows_changes() -%}
    {%- do log('Target ' ~ target.name ~ ': development, in ' ~ target.schema ~ ' alone; models are computed whole', info=true) -%}
  {%- endif -%}
  {%- if execute and follows_changes() -%}
    {%- do log('Target ' ~ target.name ~ ': PRODUCTION', info=true) -%}
  {%- endif -%}
  begin;
  select pg_advisory_xact_lock(hashtextextended('{{ meta_table('mark') }}', 0));
  create schema if not exists {{ adapter.quote(changed_facets_schema()) }};
  create table if not exists {{ meta_table('mark') }} (
    model text primary key,
    seen pg_snapshot not null,       -- taken before the parents were read
    cluster bigint not null,         -- whose transaction ids these are; on another one they mean nothing
    code text not null,              -- hash of the model's SQL, its macros and its config
    reads jsonb not null,            -- feed → {epoch it was read in, filter on its entries}
    relation text not null,
    stale_since timestamptz,         -- when it was first found behind its feeds, since it was set
    tested pg_snapshot,              -- up to where its data tests passed
    marked_at timestamptz not null default clock_timestamp()
  );
  create table if not exists {{ meta_table('feed') }} (
    feed text primary key,
    relation text not null,
    epoch uuid not null default gen_random_uuid(),
    pruned_to xid8 not null default '0'
  );
  create table if not exists {{ meta_table('run') }} (
    invocation_id text primary key,
    started pg_snapshot not null default pg_current_snapshot(),
    started_at timestamptz not null default clock_timestamp()
  );
  {%- if follows_changes() %}
  {{ forget_another_cluster_sql() }};
  insert into {{ meta_table('run') }} (invocation_id) values ('{{ invocation_id }}') on conflict do nothing;
  {%- endif %}
  create table if not exists {{ meta_table('model_change') }} (
    model text not null,
    xid xid8 not null default pg_current_xact_id(),
    run_at timestamptz not null default clock_timestamp(),
    inserted bigint not null,
    deleted bigint not null,
    unchanged bigint not null,
    facets bigint,                   -- null: computed whole
    reason text not null,
    seconds numeric(12, 3) not null,
    invocation_id text not null,
    primary key (model, xid)
  );
  commit
{%- endmacro %}

{#
  Of a database that was restored on another cluster: its transaction ids mean nothing here. The feeds are emptied, as their
  entries would look new for as long as this cluster counts below them; marks stay, for cluster 0, and say why their models
  are computed whole.
#}
{% macro forget_another_cluster_sql() -%}
  do $larder$
  declare
    feed record;
  begin
    if not exists (
      select from {{ meta_table('mark') }}
      where cluster <> 0 and cluster <> (select system_identifier from pg_control_system())
    ) then
      return;
    end if;
    for feed in select relation from {{ meta_table('feed') }} where to_regclass(relation) is not null loop
      execute format('delete from %s', feed.relation);
    end loop;
    update {{ meta_table('feed') }} set epoch = gen_random_uuid(), pruned_to = '0';
    update {{ meta_table('mark') }} set cluster = 0, tested = null;
    delete from {{ meta_table('run') }};
  end $larder$
{%- endmacro %}

{# A table of the meta schema. #}
{% macro meta_table(identifier) -%}
  {{ return(api.Relation.create(database=target.database, schema=changed_facets_schema(), identifier=identifier, type='table')) }}
{%- endmacro %}

{# One row for a build that changed rows, in the transaction that changed them; and the message that dbt shows. #}
{% macro record_model_change(changes, reading) %}
  {%- if changes.inserted + changes.deleted > 0 -%}
    {%- call statement('record_model_change') -%}
      insert into {{ meta_table('model_change') }} (model, inserted, deleted, unchanged, facets, reason, seconds, invocation_id)
      values (
        '{{ model.name }}', {{ changes.inserted }}, {{ changes.deleted }}, {{ changes.unchanged }},
        {{ 'null' if reading.facets is none else reading.facets }}, '{{ escape_single_quotes(reading.reason) }}',
        extract(epoch from clock_timestamp() - now()), '{{ invocation_id }}'
      )
    {%- endcall -%}
  {%- endif -%}
  {%- do store_raw_result(
      'main',
      message=changes.inserted ~ ' inserted, ' ~ changes.deleted ~ ' deleted, ' ~ changes.unchanged ~ ' unchanged; '
        ~ ('' if reading.facets is none else reading.facets ~ ' facet' ~ ('' if reading.facets == 1 else 's') ~ '; ')
        ~ reading.reason,
      code='APPLY',
      rows_affected=changes.inserted + changes.deleted) -%}
{% endmacro %}
