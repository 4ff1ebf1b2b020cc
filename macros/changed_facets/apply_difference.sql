{#
  Make `target` hold the rows of `result`, touching only rows that differ; returns {inserted, deleted, unchanged}.

  target, result  relations with the same columns; `result` may hold a part only, see `scope`
  grain           columns that identify a row, never null
  columns         of the target, where the caller knows them
  scope           optional predicate on the target's rows, such as "(location_id, business_date) in (select … from facets)":
                  rows outside it are neither compared nor deleted
  is_new_grain    the target's rows were of another grain: they are not compared, and all go

  Runs in the caller's transaction. The rows that changed stay until its end in the temporary table
  difference_relation(target): the old row, with its place in the target as "old row", and the new one, where that is null
  (an update is both), so that their old and new keys can be published onward before the commit.
#}
{% macro apply_difference(target, result, grain, scope=none, columns=none, is_new_grain=false) %}
  {%- set difference = difference_relation(target) -%}
  {%- set columns = columns or columns_of(target) -%}
  {%- call statement('compute_difference') -%}
    {{ difference_sql(target, result, columns, grain, difference, scope, is_new_grain) }}
  {%- endcall -%}
  {%- set count = run_query(
      'select count(*) - count("old row") as inserted, count("old row") as deleted,'
      ~ " (select count(*) from " ~ result ~ ") as total,"
      ~ " (select reltuples from pg_class where oid = '" ~ target ~ "'::regclass) as analyzed_rows from " ~ difference).rows[0] -%}

  {%- set inserted, deleted = count['inserted'] | int, count['deleted'] | int -%}
  {%- if inserted + deleted > 0 -%}
    {%- call statement('apply_difference') -%}
      {%- if deleted > 0 %}
      {#- By its place, as rows of an earlier grain may have no key; with the key, in case its place is another's by now. #}
      delete from {{ target }} as old
      using {{ difference }} as gone
      where old.ctid = gone."old row" and ({{ column_list(grain, 'old') }}) is not distinct from ({{ column_list(grain, 'gone') }});
      {%- endif %}
      {%- if inserted > 0 %}
      insert into {{ target }} ({{ column_list(columns) }})
      select {{ column_list(columns) }} from {{ difference }} where "old row" is null;
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

{% macro difference_sql(target, result, columns, grain, difference, scope, is_new_grain) %}
  create temporary table {{ difference }} on commit drop as
  with old as (
    select ctid as "old row", * from {{ target }}
    {%- if scope %}
    where {{ scope }}
    {%- endif %}
  )
  {%- if is_new_grain %}
  select "old row", {{ column_list(columns) }} from old
  union all
  select null, {{ column_list(columns) }} from {{ result }}
  {%- else %},
  pair as (
    select old."old row", new.{{ adapter.quote(grain[0]) }} is not null as is_now,
      {% for column in columns %}old.{{ adapter.quote(column) }} as old_{{ loop.index }}, new.{{ adapter.quote(column) }} as new_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}
    from old
    full join {{ result }} as new on {{ same_key('old', 'new', grain) }}
    where ({{ column_list(columns, 'old') }})
      is distinct from ({{ column_list(columns, 'new') }})
  )
  select "old row", {% for column in columns %}old_{{ loop.index }} as {{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %}
  from pair where "old row" is not null
  union all
  select null, {% for column in columns %}new_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %}
  from pair where is_now
  {%- endif %}
{% endmacro %}

{% macro same_key(left, right, grain) -%}
  {%- for column in grain -%}{{ left }}.{{ adapter.quote(column) }} = {{ right }}.{{ adapter.quote(column) }}{{ ' and ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{# Columns by their names in the catalog, as SQL. #}
{% macro column_list(columns, relation=none) -%}
  {%- for column in columns -%}{{ relation ~ '.' if relation }}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}
