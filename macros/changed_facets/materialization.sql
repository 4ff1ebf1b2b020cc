{#
  changed_facets: a table that follows every change of its parents, of any age, at a cost that follows the change.

  The model is a plain SELECT. A *facet* is the part of the data that a row depends on, such as (location_id,
  business_date): all its rows come from the parents' rows of the same facet. In one transaction a build
    1. locks the model and takes a snapshot,
    2. lists the facets that its parents' unseen changes touch, from their feeds,
    3. runs the SELECT over the parents' rows of those facets,
    4. deletes and inserts the rows that differ, and publishes their keys, old and new, in its own feed,
    5. moves its mark to the snapshot.
  Nothing changed: it stops after 2. No valid mark (a first build, changed SQL, --full-refresh, a restored database): the
  SELECT runs over everything and 4 follows all the same. The table is never swapped, so grants, policies, triggers,
  dependent views and untouched rows survive, readers never see it empty, and a failed run leaves the last good state.

  config:
    unique_key  the columns of the grain, not null. Required: rows are compared and replaced by it; a unique index holds it
    facet       columns of the result that say which facet a row belongs to. Without: a small model, computed whole
                whenever a parent changed
    facet_from  {parent: SQL} for a parent that has not the facet's columns, or whose change touches other facets than its
                own: the facets touched, by SQL over `changed`, its changed rows, old and new. '' if it never matters
    slice       {parent: SQL condition over `facets`} for a parent with a facet_from that is not to be read whole
    indexes     as dbt's own for Postgres; missing ones are made, also on a table that exists, and those that a co-faceted
                consumer needs come by themselves
  A contract gives the columns' types and its not-null and check constraints; added, removed and retyped columns are
  altered in place.
#}
{% materialization changed_facets, adapter='postgres' %}
  {%- set target_relation = this.incorporate(type='table') -%}
  {%- set result_relation = temporary_relation(this.identifier, '__result') -%}
  {%- set grain = grain_of_model() -%}
  {%- set existing = load_cached_relation(this) -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {%- do lock_model(target_relation) -%}
  {%- if existing is not none and not existing.is_table -%}
    {%- do adapter.drop_relation(existing) -%}
    {%- set existing = none -%}
  {%- endif -%}

  {%- set reading = start_reading(target_relation, existing) -%}
  {%- if reading.nothing -%}
    {%- set changes = {'inserted': 0, 'deleted': 0, 'unchanged': 0} -%}
  {%- else -%}
    {%- if reading.whole -%}
      {%- do create_result_table(result_relation, sql) -%}
    {%- else -%}
      {%- do create_result_of_facets(result_relation, sql, reading) -%}
    {%- endif -%}
    {%- do assert_result(result_relation, grain, config.get('facet'), reading.whole) -%}

    {%- set is_new_grain = false -%}
    {%- if existing is none -%}
      {%- do create_table_like_result(target_relation, result_relation) -%}
      {%- set columns_changed = true -%}
    {%- elif reading.whole -%}
      {%- set columns_changed = align_columns(target_relation, result_relation) -%}
      {%- set is_new_grain = missing_indexes(target_relation, own_indexes(grain)[:1]) | length > 0 -%}
      {%- do drop_outgrown_indexes(target_relation, grain) -%}
    {%- else -%}
      {%- set columns_changed = false -%}
    {%- endif -%}

    {%- set shapes = columns_of_all([target_relation] + ([feed_of(model).feed] if reading.marks else [])) -%}
    {%- set scope = none if reading.whole else in_facets() -%}
    {%- set changes = apply_difference(target_relation, result_relation, grain, scope, columns=shapes[0], is_new_grain=is_new_grain) -%}
    {%- if reading.whole -%}
      {#- after the rows, which those of an earlier grain or contract might break, and as a full table is indexed faster -#}
      {%- do ensure_indexes(target_relation, grain) -%}
      {%- if reading.marks -%}{%- do ensure_indexes_of_parents(reading.feeds) -%}{%- endif -%}
      {%- if existing is not none -%}{%- do align_constraints(target_relation, result_relation) -%}{%- endif -%}
    {%- endif -%}
    {%- if reading.marks -%}
      {%- do publish_changes(
          difference_relation(target_relation), changes, existing is none, of_feed=shapes[1], is_retyped=columns_changed) -%}
    {%- endif -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=False)) -%}
    {%- if columns_changed or should_full_refresh() -%}
      {%- do persist_docs(target_relation, model) -%}
    {%- endif -%}
  {%- endif -%}
  {%- if not reading.nothing or reading.unseen -%}
    {%- do finish_reading(reading, target_relation) -%}
  {%- endif -%}
  {%- do record_model_change(changes, reading) -%}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#
  The SELECT over the changed facets. What commits between the listing of the facets and the SELECT would be seen by
  the one and not by the other, and leave a facet half old; so it is asked afterwards whether anything did, and both are done
  again. Where writers leave no gap, the last attempt stands, and the next build sees to the rest.
#}
{% macro create_result_of_facets(result_relation, sql, reading) %}
  {%- set attempt = namespace(is_settled=false) -%}
  {%- for left in range(3, -1, -1) if not attempt.is_settled -%}
    {%- if context.get('start_slices') -%}{%- do context['start_slices']() -%}{%- endif -%}
    {%- do create_result_table(result_relation, sliced_sql(sql, reading.feeds)) -%}
    {%- if context.get('end_slices') -%}{%- do context['end_slices']() -%}{%- endif -%}
    {%- set attempt.is_settled = left == 0 or not feeds_with_news(reading.feeds, reading.snapshot) -%}
    {%- if not attempt.is_settled -%}
      {%- call statement('list_again') -%}drop table facets, {{ result_relation }}{%- endcall -%}
      {%- do reading.update({'snapshot': run_query('select pg_current_snapshot()::text as now').rows[0]['now']}) -%}
      {%- do follow_changes(reading) -%}
      {%- if reading.whole -%}
        {%- do reading.update({'facets': none}) -%}
        {%- do create_result_table(result_relation, sql) -%}
        {%- set attempt.is_settled = true -%}
      {%- endif -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}
