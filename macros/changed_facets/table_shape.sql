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
    {%- set names = [] -%}
    {#- as dbt writes them into the table itself #}
    {%- for column in model.columns.values() -%}{%- do names.append(adapter.quote(column.name) if column.get('quote') else column.name) -%}{%- endfor -%}
    {%- set names = names | join(', ') -%}
    {%- call statement('create_result') -%}
      create temporary table {{ relation }} (
        {%- for column in model.columns.values() %}
        {{ adapter.quote(column.name) if column.get('quote') else column.name }} {{ column.data_type }}
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
  What would make the comparison with the table lie, or a later build miss rows, told by model and rows:
    a null or a repeated key, as rows are compared by it;
    a null in the facet, as no change could say that it touches such a row;
    rows outside the facets that were asked for (where not `is_whole`). They betray a model that is not facet-local:
    its SELECT, given one part of its parents, tells about another part, and so would have told something else from the
    whole. (With `slice` the model itself says that it reads more than it tells.)
#}
{% macro assert_result(relation, grain, facet, is_whole) %}
  {%- if is_whole -%}
    {%- set given = columns_of(relation) -%}
    {%- for name, columns in {'unique_key': grain, 'facet': facet or []}.items() if columns | reject('in', given) | list -%}
      {%- do exceptions.raise_compiler_error(
          model.name ~ ": its " ~ name ~ " (" ~ columns | join(', ') ~ ") names " ~ columns | reject('in', given) | join(', ')
          ~ ", which its SELECT does not give. It gives " ~ given | join(', ') ~ ".") -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set found = run_query(problems_sql(relation, grain, facet, is_whole)) -%}
  {%- for row in found.rows -%}
    {%- set rows = row['how_many'] ~ " row(s) " -%}
    {%- set such_as = "such as (" ~ row['example'] ~ "). Nothing was changed. " -%}
    {%- if row['problem'] == 'no facet' -%}
      {%- do exceptions.raise_compiler_error(
          model.name ~ ": " ~ rows ~ "with a null in the facet (" ~ facet | join(', ') ~ "), " ~ such_as ~ "No change could say"
          ~ " that it touches such a row. Give the column a value, leave such rows out, or choose another facet.") -%}
    {%- endif -%}
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
{% macro problems_sql(relation, grain, facet, is_whole) -%}
  {%- set example = "min(concat_ws(', ', " ~ column_list(grain) ~ "))" -%}
  {%- set not_in_grain = (facet or []) | reject('in', grain) | list -%}
  analyze {{ relation }} ({{ column_list(grain) }});
  select 'null' as problem, count(*)::bigint as how_many, {{ example }} as example
  from {{ relation }}
  where {% for column in grain %}{{ adapter.quote(column) }} is null{{ ' or ' if not loop.last }}{% endfor %}
  having count(*) > 0
  union all
  select 'repeated', sum("how often" - 1)::bigint, {{ example }}
  from (
    select {{ column_list(grain) }}, count(*) as "how often"
    from {{ relation }}
    group by {{ column_list(grain) }}
    having count(*) > 1
  ) as twice
  having count(*) > 0
  {%- if not_in_grain %}
  union all
  select 'no facet', count(*)::bigint, {{ example }}
  from {{ relation }}
  where {% for column in not_in_grain %}{{ adapter.quote(column) }} is null{{ ' or ' if not loop.last }}{% endfor %}
  having count(*) > 0
  {%- endif %}
  {%- if facet and not is_whole %}
  union all
  select 'outside', count(*)::bigint, min(concat_ws(', ', {{ column_list(facet) }}))
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

  Not-nulls and checks of an earlier contract go too, before the rows that they refuse come; those of this one are added
  by align_constraints, when the rows that it refuses have gone.
#}
{% macro align_columns(target_relation, result_relation) %}
  {%- for row in run_query(constraints_that_differ_sql(target_relation, result_relation)).rows if row['is_of_target'] -%}
    {%- call statement('drop_constraint') -%}
      alter table {{ target_relation }} {{ row['drop_it'] }}
    {%- endcall -%}
  {%- endfor -%}
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

{% macro align_constraints(target_relation, result_relation) %}
  {%- for row in run_query(constraints_that_differ_sql(target_relation, result_relation)).rows if not row['is_of_target'] -%}
    {%- call statement('add_constraint') -%}
      alter table {{ target_relation }} {{ row['add_it'] }}
    {%- endcall -%}
  {%- endfor -%}
{% endmacro %}

{#
  Not-nulls and checks that only one of the two tables has. Of checks those that bear the name that Postgres gives: one
  with a name of its own was made by somebody, as was what a primary key needs.
#}
{% macro constraints_that_differ_sql(target_relation, result_relation) %}
  with tables (relation, is_of_target) as (
    values ('{{ target_relation }}'::regclass, true), ('{{ result_relation }}'::regclass, false)
  ),
  constraints as (
    select
      is_of_target, quote_ident(attname) as what, 'alter column ' || quote_ident(attname) || ' drop not null' as drop_it,
      'alter column ' || quote_ident(attname) || ' set not null' as add_it
    from tables
    inner join pg_attribute on attrelid = relation and attnum > 0 and attnotnull and not attisdropped
    where not exists (
      select from pg_constraint where conrelid = relation and contype = 'p' and attnum = any (conkey)
    )
    union all
    select is_of_target, pg_get_constraintdef(oid), 'drop constraint ' || quote_ident(conname), 'add ' || pg_get_constraintdef(oid)
    from tables
    inner join pg_constraint on conrelid = relation and contype = 'c' and conname ~ '_check[0-9]*$'
  )
  select bool_or(is_of_target) as is_of_target, min(drop_it) as drop_it, min(add_it) as add_it
  from constraints
  group by what
  having count(distinct is_of_target) = 1
  order by what
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
  {%- do ensure_indexes_on(relation, own_indexes(grain) + ([{'columns': config.get('facet'), 'or_begins_with': true}] if config.get('facet') else [])) -%}
{% endmacro %}

{% macro own_indexes(grain) %}
  {%- do return([{'columns': grain, 'unique': true}] + (config.get('indexes') or [])) -%}
{% endmacro %}

{# A unique index that is none of the model's own was of an earlier grain, and would refuse rows of this one. #}
{% macro drop_outgrown_indexes(relation, grain) %}
  {%- set unique_columns = own_indexes(grain) | selectattr('unique', 'defined') | selectattr('unique') | map(attribute='columns') | list -%}
  {%- for row in run_query(indexes_of_sql(relation)).rows if row['is_unique'] and not row['is_constraint'] -%}
    {%- if row['column_names'].split(',') not in unique_columns -%}
      {%- call statement('drop_index') -%}drop index {{ row['name'] }}{%- endcall -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{# The indexes by which this model finds its parents' rows of a facet: without them each slice reads the whole parent. #}
{% macro ensure_indexes_of_parents(feeds) %}
  {#- sorted, so that two models that wait for each other's parents wait in the same order -#}
  {%- for feed in feeds | sort(attribute='label') if config.get('facet') and feed.is_model and (config.get('facet_from') or {}).get(feed.name) is none -%}
    {%- set columns = columns_of(feed.relation) -%}
    {%- if config.get('facet') | reject('in', columns) | list | length == 0 -%}
      {%- do ensure_indexes_on(feed.relation, [{'columns': config.get('facet'), 'or_begins_with': true}]) -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}

{#
  Make the indexes that are missing; by what they cover, not by name: dbt's own names bear a timestamp and would be made
  again at every build. With or_begins_with one that begins with these columns, in any order, will do. Two models that miss
  the same index on their parent make it one after the other, the second none.
#}
{% macro ensure_indexes_on(relation, wanted) %}
  {%- if missing_indexes(relation, wanted) -%}
    {%- call statement('lock_indexes') -%}
      select pg_advisory_xact_lock(hashtextextended('{{ relation.schema }}.{{ relation.identifier }}', 19451))
    {%- endcall -%}
    {%- for index in missing_indexes(relation, wanted) -%}
      {%- call statement('ensure_index') -%}
        create {{ 'unique ' if index.unique }}index on {{ relation }} using {{ index.type }} ({{ column_list(index.columns) }})
      {%- endcall -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}

{% macro missing_indexes(relation, wanted) %}
  {%- set present, missing = [], [] -%}
  {%- for row in run_query(indexes_of_sql(relation)).rows -%}
    {%- do present.append({'columns': row['column_names'].split(','), 'unique': row['is_unique'], 'type': row['method']}) -%}
  {%- endfor -%}
  {%- for index in wanted -%}
    {%- set columns = index['columns'] -%}
    {%- set unique = index.get('unique', false) -%}
    {%- set type = index.get('type', 'btree') -%}
    {%- set found = namespace(it=false) -%}
    {%- for other in present + missing if other.type == type -%}
      {%- if other.columns == columns and other.unique == unique -%}{%- set found.it = true -%}{%- endif -%}
      {%- if index.get('or_begins_with') and other.columns[:columns | length] | sort == columns | sort -%}{%- set found.it = true -%}{%- endif -%}
    {%- endfor -%}
    {%- if not found.it -%}{%- do missing.append({'columns': columns, 'unique': unique, 'type': type}) -%}{%- endif -%}
  {%- endfor -%}
  {%- do return(missing) -%}
{% endmacro %}

{% macro indexes_of_sql(relation) %}
  select
    pg_index.indexrelid::regclass::text as name,
    pg_am.amname::text as method,
    pg_index.indisunique as is_unique,
    exists (select from pg_constraint where conindid = pg_index.indexrelid) as is_constraint,
    (
      select string_agg(pg_attribute.attname, ',' order by place)
      from unnest(pg_index.indkey::int2[]) with ordinality as covered (attnum, place)
      inner join pg_attribute on pg_attribute.attrelid = pg_index.indrelid and pg_attribute.attnum = covered.attnum
    ) as column_names
  from pg_index
  inner join pg_class on pg_class.oid = pg_index.indexrelid
  inner join pg_am on pg_am.oid = pg_class.relam
  where pg_index.indrelid = '{{ relation }}'::regclass and pg_index.indpred is null and pg_index.indexprs is null and pg_index.indisvalid
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
