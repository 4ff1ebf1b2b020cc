{#
  `dbt run-operation watch_sources`: lets every source table with `config: {meta: {feed: true}}` publish its changes.

  Triggers write the old and new values of the columns that consumers need to the source's feed, in the transaction of
  whoever changes the table: any loader, any client. Run it again when a model begins to follow a source.
#}
{% macro watch_sources() %}
  {%- do run_query(prepare_changed_facets()) -%}
  {%- for node in graph.sources.values() if (node.config.get('meta') or {}).get('feed') is sameas true -%}
    {%- set relation = api.Relation.create(database=node.database, schema=node.schema, identifier=node.identifier, type='table') -%}
    {%- set feed = feed_of(node) -%}
    {%- set available = columns_of(relation) -%}
    {%- set columns = published_columns(node, feed, available) -%}
    {%- set had = columns_of(feed.feed) -%}
    {%- if had and feed_is_of_other_types(feed, relation, columns) -%}
      {%- do run_query('drop table ' ~ feed.feed) -%}
      {%- set had = [] -%}
    {%- endif -%}
    {%- do ensure_feed(feed, relation, columns, had) -%}
    {%- set tells_too_little = had and columns | reject('in', had) | list -%}
    {%- set are_missing = run_query(triggers_missing_sql(relation)).rows[0]['are_missing'] -%}
    {%- do run_query(triggers_sql(relation, feed.feed, columns)) -%}
    {%- if are_missing or tells_too_little -%}
      {#- a table made anew: what changed before it had these triggers is in no feed; and entries from before the feed had
          a column are without it, while a model that needs the column may have a mark from before them -#}
      {%- do run_query("update " ~ meta_table('feed') ~ " set epoch = gen_random_uuid() where feed = '" ~ feed.label ~ "'") -%}
    {%- endif -%}
    {%- do run_query('commit') -%}
    {%- do log('watching ' ~ feed.name ~ ' (' ~ columns | join(', ') ~ ')', info=true) -%}
  {%- endfor -%}
{% endmacro %}

{# What the names of its four triggers begin with. Postgres cuts a name at 63 characters, and they are to stay four. #}
{% macro publishing_trigger(relation) %}{%- do return('publish_' ~ relation.identifier[:46]) -%}{% endmacro %}

{% macro triggers_missing_sql(relation) %}
  {%- set name = publishing_trigger(relation) -%}
  select count(*) < 4 as are_missing from pg_trigger
  where
    tgrelid = '{{ relation }}'::regclass and tgenabled in ('O', 'A')
    and tgname in ('{{ name }}_insert', '{{ name }}_update', '{{ name }}_delete', '{{ name }}_truncate')
{% endmacro %}

{#
  The statement triggers that keep the feed of a table. An update publishes rows that differ, compared as text, as some
  types cannot be compared otherwise; `truncate` publishes all that was there.
#}
{% macro triggers_sql(relation, feed, columns) %}
  {%- set name = publishing_trigger(relation) -%}
  {%- set function = api.Relation.create(database=none, schema=feed.schema, identifier=feed.identifier ~ '_publish') -%}
  {%- set list = column_list(columns) -%}
  {#- As its owner, who may write the feed: whoever changes the table need not. #}
  create or replace function {{ function }}() returns trigger language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $larder$
  begin
    {%- if not columns %}
    insert into {{ feed }} default values;
    {%- else %}
    if tg_op = 'TRUNCATE' then
      insert into {{ feed }} ({{ list }}) select distinct {{ list }} from {{ relation }};
    elsif tg_op = 'INSERT' then
      insert into {{ feed }} ({{ list }}) select distinct {{ list }} from new_rows;
    elsif tg_op = 'DELETE' then
      insert into {{ feed }} ({{ list }}) select distinct {{ list }} from old_rows;
    else
      insert into {{ feed }} ({{ list }})
      select distinct {{ list }} from (
        (select {{ list }}, old_rows::text from old_rows except all select {{ list }}, new_rows::text from new_rows)
        union all
        (select {{ list }}, new_rows::text from new_rows except all select {{ list }}, old_rows::text from old_rows)
      ) as changed;
    end if;
    {%- endif %}
    return null;
  end $larder$;
  create or replace trigger {{ adapter.quote(name ~ '_insert') }} after insert on {{ relation }}
    referencing new table as new_rows for each statement execute function {{ function }}();
  create or replace trigger {{ adapter.quote(name ~ '_update') }} after update on {{ relation }}
    referencing old table as old_rows new table as new_rows for each statement execute function {{ function }}();
  create or replace trigger {{ adapter.quote(name ~ '_delete') }} after delete on {{ relation }}
    referencing old table as old_rows for each statement execute function {{ function }}();
  create or replace trigger {{ adapter.quote(name ~ '_truncate') }} before truncate on {{ relation }}
    for each statement execute function {{ function }}()
{% endmacro %}
