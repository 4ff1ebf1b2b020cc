{# The shape of a table that changed_facets keeps: columns, constraints, indexes; and the checks of its result. #}

{# A relation of this session: no schema, so that it is found first and vanishes with the transaction. #}
{% macro temporary_relation(identifier, suffix) %}
  {%- set name = identifier[:63 - suffix | length] ~ suffix -%}
  {%- do return(api.Relation.create(identifier=name, type='table')) -%}
{% endmacro %}

{# Two builds of one model queue; without this both would compute their difference against the same old rows. #}
{% macro lock_model(relation) %}
  {%- call statement('lock_model') -%}
    select pg_advisory_xact_lock(hashtextextended('{{ relation.schema }}.{{ relation.identifier }}', 19450))
  {%- endcall -%}
{% endmacro %}

{% macro grain_of_model() %}
  {%- set key = config.get('unique_key') -%}
  {%- if not key -%}
    {%- do exceptions.raise_compiler_error(
        model.name ~ " has no grain. Add config(unique_key=[…]) with the columns that identify a row.") -%}
  {%- endif -%}
  {%- do return([key] if key is string else key) -%}
{% endmacro %}

{# The model's result in a temporary table, with the contract's types and its not-null and check constraints if there is one. #}
{% macro create_result_table(relation, sql) %}
  {%- if config.get('contract').enforced -%}
    {%- do get_assert_columns_equivalent(sql) -%}
    {%- set names = model.columns.values() | map(attribute='name') | join(', ') -%}
    {%- call statement('create_result') -%}
      create temporary table {{ relation }} (
        {%- for column in model.columns.values() %}
        {{ column.name }} {{ column.data_type }}
        {%- for rule in column.constraints or [] %}
          {%- if rule.type == 'not_null' %} not null{% elif rule.type == 'check' %} check ({{ rule.expression }}){% endif %}
        {%- endfor %}{{ ',' if not loop.last }}
        {%- endfor %}
      ) on commit drop
    {%- endcall -%}
    {%- call statement('main') -%}
      insert into {{ relation }} ({{ names }})
      select {{ names }} from (
{{ sql }}
      ) as result
    {%- endcall -%}
  {%- else -%}
    {%- call statement('main') -%}
      create temporary table {{ relation }} on commit drop as
{{ sql }}
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{#
  What would make the comparison with the table lie, told by model and rows:
    a null or a repeated key, as rows are compared by it;
    rows outside the facets that were asked for (`facet`, where there are any). They betray a model that is not facet-local:
    its SELECT, given one part of its parents, tells about another part, and so would have told something else from the
    whole. (With `slice` the model itself says that it reads more than it tells.)
#}
{% macro assert_result(relation, grain, facet=none) %}
  {%- set found = run_query(problems_sql(relation, grain, facet)) -%}
  {%- for row in found.rows -%}
    {%- set rows = row['how_many'] ~ " row(s) " -%}
    {%- set such_as = "such as (" ~ row['example'] ~ "). Nothing was changed. " -%}
    {%- if row['problem'] == 'outside' -%}
      {%- do exceptions.raise_compiler_error(
          model.name ~ ": not facet-local: from its parents' rows of the changed facets (" ~ facet | join(', ') ~ ") it made "
          ~ rows ~ "of others, " ~ such_as ~ "Give the facet columns through unchanged, choose a facet that contains what a row"
          ~ " depends on, or say with facet_from and slice which facets a change touches.") -%}
    {%- endif -%}
    {%- do exceptions.raise_compiler_error(
        model.name ~ ": " ~ rows ~ "with a " ~ row['problem'] ~ " key (" ~ grain | join(', ') ~ "), " ~ such_as
        ~ "Correct the model or its unique_key.") -%}
  {%- endfor -%}
{% endmacro %}

{# The result's statistics, which what follows is planned by; and a row for each problem. #}
{% macro problems_sql(relation, grain, facet) -%}
  {%- set example = "min(concat_ws(', ', " ~ grain | join('::text, ') ~ "::text))" -%}
  analyze {{ relation }} ({{ grain | join(', ') }});
  select 'null' as problem, count(*)::bigint as how_many, {{ example }} as example
  from {{ relation }}
  where {% for column in grain %}{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %}
  having count(*) > 0
  union all
  select 'repeated', sum("how often" - 1)::bigint, {{ example }}
  from (
    select {{ grain | join(', ') }}, count(*) as "how often"
    from {{ relation }}
    group by {{ grain | join(', ') }}
    having count(*) > 1
  ) as twice
  having count(*) > 0
  {%- if facet %}
  union all
  select 'outside', count(*)::bigint, min(concat_ws(', ', {{ facet | join('::text, ') }}::text))
  from {{ relation }} as result
  where not exists (select from facets where {{ same_key('facets', 'result', facet) }})
  having count(*) > 0
  {%- endif %}
  order by problem
{%- endmacro %}

{% macro create_table_like_result(target_relation, result_relation) %}
  {%- call statement('create_target') -%}
    create table {{ target_relation }}
    {% if config.get('contract').enforced -%}
      {{ get_table_columns_and_constraints() }}
    {%- else -%}
      (like {{ result_relation }})
    {%- endif %}
  {%- endcall -%}
{% endmacro %}

{#
  Add, drop and retype columns of the existing table until they are those of the result; returns whether anything was
  altered. A view of this project that shows a dropped or retyped column makes way: it is dropped in this transaction and
  comes back when its own node is built, which therefore has to be part of this run. Postgres names any other view.
#}
{% macro align_columns(target_relation, result_relation) %}
  {%- set differing = run_query(columns_that_differ_sql(target_relation, result_relation)) -%}
  {%- for column in differing.rows -%}
    {%- if column['was_type'] is not none -%}
      {%- do make_way_for_column(target_relation, column['name']) -%}
    {%- endif -%}
    {%- call statement('align_columns') -%}
      alter table {{ target_relation }}
      {%- if column['is_type'] is none %} drop column {{ adapter.quote(column['name']) }}
      {%- elif column['was_type'] is none %} add column {{ adapter.quote(column['name']) }} {{ column['is_type'] }}
      {%- else %} alter column {{ adapter.quote(column['name']) }} type {{ column['is_type'] }} using {{ adapter.quote(column['name']) }}::{{ column['is_type'] }}
      {%- endif -%}
    {%- endcall -%}
  {%- endfor -%}
  {%- do return(differing.rows | length > 0) -%}
{% endmacro %}

{% macro make_way_for_column(target_relation, column) %}
  {%- set views = run_query(views_showing_column_sql(target_relation, column)) -%}
  {%- for view in views.rows -%}
    {%- set nodes = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.alias == view['name'] and model.unique_id in node.depends_on.nodes -%}
      {%- do nodes.append(node) -%}
    {%- endfor -%}
    {%- if nodes and nodes[0].unique_id not in selected_resources -%}
      {%- do exceptions.raise_compiler_error(
          model.name ~ ": column " ~ column ~ " is shown by " ~ nodes[0].name ~ ", which this run does not build. Nothing was"
          ~ " changed. Build both: dbt build --select " ~ model.name ~ "+") -%}
    {%- elif nodes -%}
      {%- call statement('make_way') -%}
        drop view {{ adapter.quote(view['schema']) }}.{{ adapter.quote(view['name']) }}
      {%- endcall -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{% macro views_showing_column_sql(relation, column) %}
  select distinct view_schema.nspname::text as schema, shown.relname::text as name
  from pg_depend as depends
  inner join pg_attribute as attribute
    on attribute.attrelid = depends.refobjid and attribute.attnum = depends.refobjsubid and attribute.attname = '{{ column }}'
  inner join pg_rewrite as rule on rule.oid = depends.objid
  inner join pg_class as shown on shown.oid = rule.ev_class and shown.relkind = 'v'
  inner join pg_namespace as view_schema on view_schema.oid = shown.relnamespace
  where
    depends.classid = 'pg_rewrite'::regclass
    and depends.refclassid = 'pg_class'::regclass
    and depends.refobjid = '{{ relation }}'::regclass
{% endmacro %}

{% macro columns_that_differ_sql(target_relation, result_relation) %}
  with columns as (
    select attrelid, attname, format_type(atttypid, atttypmod) as column_type
    from pg_attribute
    where attnum > 0 and not attisdropped
  ),
  was as (select * from columns where attrelid = '{{ target_relation }}'::regclass),
  is_now as (select * from columns where attrelid = '{{ result_relation }}'::regclass)
  select coalesce(is_now.attname, was.attname)::text as name, was.column_type as was_type, is_now.column_type as is_type
  from was
  full join is_now on is_now.attname = was.attname
  where was.column_type is distinct from is_now.column_type
  order by 1
{% endmacro %}

{# The model's own indexes: its grain, its facet, those of its config. #}
{% macro ensure_indexes(relation, grain) %}
  {%- set wanted = [{'columns': grain, 'unique': true}] + (config.get('indexes') or []) -%}
  {%- do ensure_indexes_on(relation, wanted + ([{'columns': config.get('facet'), 'or_begins_with': true}] if config.get('facet') else [])) -%}
{% endmacro %}

{# The indexes by which this model finds its parents' rows of a facet: without them each slice reads the whole parent. #}
{% macro ensure_indexes_of_parents(feeds) %}
  {%- for feed in feeds if config.get('facet') and feed.is_model and (config.get('facet_from') or {}).get(feed.name) is none -%}
    {%- set columns = columns_of(feed.relation) -%}
    {%- if config.get('facet') | reject('in', columns) | list | length == 0 -%}
      {%- do ensure_indexes_on(feed.relation, [{'columns': config.get('facet'), 'or_begins_with': true}]) -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{#
  Make the indexes that are missing; by what they cover, not by name: dbt's own names bear a timestamp and would be made
  again at every build. With or_begins_with one that begins with these columns, in any order, will do.
#}
{% macro ensure_indexes_on(relation, wanted) %}
  {%- set present = [] -%}
  {%- for row in run_query(indexes_of_sql(relation)).rows -%}
    {%- do present.append({'columns': row['column_names'].split(','), 'unique': row['is_unique'], 'type': row['method']}) -%}
  {%- endfor -%}
  {%- for index in wanted -%}
    {%- set columns = index['columns'] -%}
    {%- set unique = index.get('unique', false) -%}
    {%- set type = index.get('type', 'btree') -%}
    {%- set found = namespace(it=false) -%}
    {%- for other in present if other.type == type -%}
      {%- if other.columns == columns and other.unique == unique -%}{%- set found.it = true -%}{%- endif -%}
      {%- if index.get('or_begins_with') and other.columns[:columns | length] | sort == columns | sort -%}{%- set found.it = true -%}{%- endif -%}
    {%- endfor -%}
    {%- if not found.it -%}
      {%- call statement('ensure_index') -%}
        create {{ 'unique ' if unique }}index on {{ relation }} using {{ type }} ({{ columns | join(', ') }})
      {%- endcall -%}
      {%- do present.append({'columns': columns, 'unique': unique, 'type': type}) -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{% macro indexes_of_sql(relation) %}
  select
    pg_am.amname::text as method,
    pg_index.indisunique as is_unique,
    (
      select string_agg(pg_attribute.attname, ',' order by place)
      from unnest(pg_index.indkey::int2[]) with ordinality as covered (attnum, place)
      inner join pg_attribute on pg_attribute.attrelid = pg_index.indrelid and pg_attribute.attnum = covered.attnum
    ) as column_names
  from pg_index
  inner join pg_class on pg_class.oid = pg_index.indexrelid
  inner join pg_am on pg_am.oid = pg_class.relam
  where pg_index.indrelid = '{{ relation }}'::regclass and pg_index.indpred is null
{% endmacro %}

{# Names of a relation's columns, none if it does not exist. A quarter of what adapter.get_columns_in_relation costs. #}
{% macro columns_of(relation) %}
  {%- do return(columns_of_all([relation])[0]) -%}
{% endmacro %}

{# The same for several relations in one query; a list of lists. #}
{% macro columns_of_all(relations) %}
  {%- set wanted = [] -%}
  {%- for relation in relations -%}{%- do wanted.append("(" ~ loop.index0 ~ ", to_regclass('" ~ relation.include(database=false) ~ "'))") -%}{%- endfor -%}
  {%- set found = run_query(
      "select place, coalesce(string_agg(attname, ',' order by attnum), '') as names from (values " ~ wanted | join(', ')
      ~ ") as wanted (place, relation) left join pg_attribute on attrelid = relation and attnum > 0 and not attisdropped"
      ~ " group by place order by place").rows -%}
  {%- set names = [] -%}
  {%- for row in found -%}{%- do names.append((row['names'] or '').split(',') | reject('equalto', '') | list) -%}{%- endfor -%}
  {%- do return(names) -%}
{% endmacro %}
