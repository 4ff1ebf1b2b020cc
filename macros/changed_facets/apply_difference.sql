{#
  Make `target` hold the rows of `result`, touching only rows that differ; returns {inserted, deleted, unchanged}.

  target, result  relations with the same columns; `result` may hold a part only, see `scope`
  grain           columns that identify a row, never null
  columns         of the target, where the caller knows them
  scope           optional predicate on the target's rows, such as "(location_id, business_date) in (select … from facets)":
                  rows outside it are neither compared nor deleted

  Runs in the caller's transaction. The rows that changed stay until its end in the temporary table
  difference_relation(target): `operation` D with the old row, I with the new one (an update is both), so that their old and
  new keys can be published onward before the commit.
#}
{% macro apply_difference(target, result, grain, scope=none, columns=none) %}
  {%- set difference = difference_relation(target) -%}
  {%- set columns = columns or columns_of(target) -%}
  {%- call statement('compute_difference') -%}
    {{ difference_sql(target, result, columns, grain, difference, scope) }}
  {%- endcall -%}
  {%- set count = run_query(
      "select count(*) filter (where operation = 'I') as inserted, count(*) filter (where operation = 'D') as deleted,"
      ~ " (select count(*) from " ~ result ~ ") as total,"
      ~ " (select reltuples from pg_class where oid = '" ~ target ~ "'::regclass) as analyzed_rows from " ~ difference).rows[0] -%}

  {%- set inserted, deleted = count['inserted'] | int, count['deleted'] | int -%}
  {%- if inserted + deleted > 0 -%}
    {%- call statement('apply_difference') -%}
      {%- if deleted > 0 %}
      delete from {{ target }} as old
      using {{ difference }} as gone
      where gone.operation = 'D' and {{ same_key('old', 'gone', grain) }};
      {%- endif %}
      {%- if inserted > 0 %}
      insert into {{ target }} ({{ columns | join(', ') }})
      select {{ columns | join(', ') }} from {{ difference }} where operation = 'I';
      {%- endif %}
      {#- The next model plans against these rows long before autovacuum looks at them. #}
      {%- if inserted + deleted > 1000 and inserted + deleted > 0.05 * (count['analyzed_rows'] | float) %}
      analyze {{ target }}
      {%- endif %}
    {%- endcall -%}
  {%- endif -%}
  {%- do return({'columns': columns, 'inserted': inserted, 'deleted': deleted, 'unchanged': (count['total'] | int) - inserted}) -%}
{% endmacro %}

{% macro difference_relation(target) %}
  {%- do return(temporary_relation(target.identifier, '__difference')) -%}
{% endmacro %}

{% macro difference_sql(target, result, columns, grain, difference, scope=none) %}
  create temporary table {{ difference }} on commit drop as
  with old as (
    select * from {{ target }}
    {%- if scope %}
    where {{ scope }}
    {%- endif %}
  ),
  pair as (
    select {{ 'old.' ~ grain[0] }} is not null as was, {{ 'new.' ~ grain[0] }} is not null as is_now,
      {% for column in columns %}old.{{ column }} as old_{{ loop.index }}, new.{{ column }} as new_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}
    from old
    full join {{ result }} as new on {{ same_key('old', 'new', grain) }}
    where ({% for column in columns %}old.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
      is distinct from ({% for column in columns %}new.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
  )
  select 'D'::char(1) as operation, {% for column in columns %}old_{{ loop.index }} as {{ column }}{{ ', ' if not loop.last }}{% endfor %}
  from pair where was
  union all
  select 'I', {% for column in columns %}new_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}
  from pair where is_now
{% endmacro %}

{% macro same_key(left, right, grain) -%}
  {%- for column in grain -%}{{ left }}.{{ column }} = {{ right }}.{{ column }}{{ ' and ' if not loop.last }}{%- endfor -%}
{%- endmacro %}
