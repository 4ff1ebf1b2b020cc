{#
  key_table: insert-only rows of a migration-managed table of the `keys` schema; ids outlive every dbt table.

  The model's SELECT gives the wanted rows, without ids; those whose unique_key is not there yet are added, nothing is
  ever changed or deleted, also by --full-refresh. The model is a node before the facts, so that they `ref` it and plain
  `dbt build` is complete.

  config:
    unique_key  the columns that say whether a row is there; default [source_id, natural_key]
    parent      the column whose bits name the business; default parent_id
    draws_id    whether `id` is to be drawn from the business's counter; default true. One range is reserved a business.
    facet, facet_from, slice   as of changed_facets: which of its parents' rows may be new. Columns of the facet that the
                table does not have are published and not stored.

  Production writes the table itself: keys_sale *is* keys.sale. A development schema writes nothing to production: there
  keys_sale is a view over production's rows and dev_<user>.keys_sale__provisional, whose ids are counted from the top of
  the business's range and give way as soon as production has assigned its own.

  New keys are only drawn for businesses whose route is active here, behind the write gate.
#}
{% materialization key_table, adapter='postgres' %}
  {%- set unique_key = config.get('unique_key') or ['source_id', 'natural_key'] -%}
  {%- set parent = config.get('parent') or 'parent_id' -%}
  {%- set wanted = temporary_relation(this.identifier, '__wanted') -%}
  {%- set keys = key_relations(model.name[5:], unique_key) -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- do lock_model(keys.written) -%}
  {%- do prepare_key_relation(keys) -%}

  {%- set reading = start_reading(keys.written, true) -%}
  {%- set new_rows, withheld = 0, 0 -%}
  {%- if not reading.nothing -%}
    {%- call statement('main') -%}
      {{ wanted_keys_sql(wanted, sql if reading.whole else sliced_sql(sql, reading.feeds), unique_key, parent, keys) }}
    {%- endcall -%}
    {%- set withheld = run_query(
        'with withheld as (delete from ' ~ wanted ~ ' where is_withheld returning 1) select count(*) as n from withheld').rows[0]['n'] -%}
    {%- set new_rows = run_query('select count(*) as n from ' ~ wanted).rows[0]['n'] | int -%}
    {%- if reading.whole and reading.marks -%}{%- do ensure_indexes_of_parents(reading.feeds) -%}{%- endif -%}
  {%- endif -%}
  {%- if new_rows > 0 -%}
    {%- if not keys.provisional -%}{%- do pass_write_gate(wanted, parent) -%}{%- endif -%}
    {%- set stored = adapter.get_columns_in_relation(keys.written) | map(attribute='name') | list -%}
    {%- set columns = adapter.get_columns_in_relation(wanted) | map(attribute='name') | select('in', stored) | list -%}
    {%- call statement('insert_keys') -%}
      {{ insert_keys_sql(keys, wanted, columns, parent, config.get('draws_id', true)) }}
    {%- endcall -%}
    {%- if new_rows > 1000 -%}{%- call statement('analyze_keys') -%}analyze {{ keys.written }}{%- endcall -%}{%- endif -%}
  {%- endif -%}
  {%- set changes = {'inserted': new_rows, 'deleted': 0, 'unchanged': 0} -%}
  {%- if not reading.nothing and reading.marks and feed_of(model).is_own -%}
    {%- do publish_changes(wanted, changes, false) -%}
  {%- endif -%}
  {#- The mark stays where it is while a paused or arriving business keeps rows back: they are drawn when its route is active. -#}
  {%- if (not reading.nothing or reading.unseen) and withheld == 0 -%}{%- do finish_reading(reading, keys.written) -%}{%- endif -%}
  {%- do record_model_change(changes, reading) -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [this]}) }}
{% endmaterialization %}


{# The rows that the SELECT wants and the table has not. #}
{% macro wanted_keys_sql(wanted, sql, unique_key, parent, keys) -%}
create temporary table {{ wanted }} on commit drop as
select distinct on ({{ unique_key | join(', ') }}) wanted.*, route.state <> 'active' as is_withheld
from (
{{ sql }}
) as wanted
inner join {{ builtins.source('keys', 'route') }} as route
  on route.business = {{ keys_function('business_of') }}(wanted.{{ parent }}) and route.state in ('active', 'paused', 'arriving')
where not exists (
  select from {{ keys.read }} as there
  where {% for column in unique_key %}there.{{ column }} = wanted.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
)
order by {{ unique_key | join(', ') }}
{%- endmacro %}

{#
  The relations behind one key table: `read` shows all rows, `written` takes new ones. They are one table where this
  build is production's, else a view and a table of the development schema.
#}
{% macro key_relations(table, unique_key) %}
  {%- set registry = builtins.source('keys', table) -%}
  {%- if this.schema == registry.schema -%}
    {%- do return({'registry': registry, 'read': registry, 'written': registry, 'provisional': false, 'unique_key': unique_key}) -%}
  {%- endif -%}
  {%- set shown = this.incorporate(path={'identifier': 'keys_' ~ table}, type='view') -%}
  {%- set written = this.incorporate(path={'identifier': 'keys_' ~ table ~ '__provisional'}, type='table') -%}
  {%- do return({'registry': registry, 'read': shown, 'written': written, 'provisional': true, 'unique_key': unique_key}) -%}
{% endmacro %}

{% macro prepare_key_relation(keys) %}
  {%- if keys.provisional -%}
    {%- call statement('prepare_key_relation') -%}
      create table if not exists {{ keys.written }} (like {{ keys.registry }} including defaults);
      create or replace view {{ keys.read }} as
      select * from {{ keys.registry }}
      union all
      select * from {{ keys.written }} as provisional
      where not exists (
        select from {{ keys.registry }} as assigned
        where {% for column in keys.unique_key %}assigned.{{ column }} = provisional.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
      )
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{# The write gate of each business that gets new rows, in one order for all callers. #}
{% macro pass_write_gate(rows, parent) %}
  {%- call statement('write_gate') -%}
    select {{ keys_function('write_gate') }}(business)
    from (
      select distinct {{ keys_function('business_of') }}({{ parent }}) as business from {{ rows }} order by 1
    ) as businesses
  {%- endcall -%}
{% endmacro %}

{% macro insert_keys_sql(keys, wanted, columns, parent, draws_id) %}
  {%- set names = columns | join(', ') -%}
  {%- if not draws_id -%}
    insert into {{ keys.written }} ({{ names }})
    select {{ names }} from {{ wanted }}
    on conflict do nothing
  {%- else -%}
    insert into {{ keys.written }} (id, {{ names }})
    with numbered as (
      select
        wanted.*,
        {{ keys_function('business_of') }}({{ parent }}) as business_of_row,
        row_number() over (partition by {{ keys_function('business_of') }}({{ parent }}) order by {{ keys.unique_key | join(', ') }}) - 1 as place
      from {{ wanted }} as wanted
    ),
    counted as (
      select business_of_row, count(*) as how_many from numbered group by business_of_row order by business_of_row
    ),
    reserved as materialized (
      select
        business_of_row,
        {% if keys.provisional -%}
        {{ keys_function('last_id') }}(business_of_row) - how_many + 1 - (
          select count(*) from {{ keys.written }} as already
          where already.id between {{ keys_function('first_id') }}(business_of_row) and {{ keys_function('last_id') }}(business_of_row)
        ) as first_id
        {%- else -%}
        {{ keys_function('reserve') }}(business_of_row, how_many) as first_id
        {%- endif %}
      from counted
    )
    select reserved.first_id + numbered.place, {% for column in columns %}numbered.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from numbered
    inner join reserved on reserved.business_of_row = numbered.business_of_row
    on conflict do nothing
  {%- endif -%}
{% endmacro %}
