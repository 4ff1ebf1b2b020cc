{#
  Data tests on what changed. With the environment variable CHANGED_FACETS_TESTS=changed a test reads only the rows of
  facets that changed since the model's tests last passed; without it, as in plain `dbt test`, the whole model.

  The model's own feed says what changed, and its mark up to where its tests passed. A unique test then compares rows of
  changed facets with each other; over all of them the unique index of the grain holds it.
#}
{% macro postgres__get_where_subquery(relation) -%}
  {%- set conditions = [] -%}
  {%- if config.get('where') -%}{%- do conditions.append(config.get('where')) -%}{%- endif -%}
  {%- if execute and tests_follow_changes() and model.attached_node in graph.nodes -%}
    {%- set node = graph.nodes[model.attached_node] -%}
    {%- set changed = changed_since_tested([node], node.config.get('facet')) if node.config.materialized == 'changed_facets' else none -%}
    {%- if changed is not none -%}{%- do conditions.append(changed) -%}{%- endif -%}
  {%- endif -%}
  {%- if conditions -%}
    (select * from {{ relation }} where {{ conditions | join(' and ') }}) as dbt_subquery
  {%- else -%}
    {{ relation }}
  {%- endif -%}
{%- endmacro %}

{#
  For tests written in SQL: the rows of a model whose `columns` name a facet in which any of `models` (names; the model
  itself among them) changed since its tests passed. All rows where that cannot be said.
#}
{% macro tested_rows(relation, columns, models) -%}
  {%- set changed = none -%}
  {%- if execute and tests_follow_changes() -%}
    {%- set nodes = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name in models -%}{%- do nodes.append(node) -%}{%- endfor -%}
    {%- set changed = changed_since_tested(nodes, columns) -%}
  {%- endif -%}
  (select * from {{ relation }}{% if changed is not none %} where {{ changed }}{% endif %})
{%- endmacro %}

{% macro tests_follow_changes() %}
  {%- do return(follows_changes() and env_var('CHANGED_FACETS_TESTS', '') == 'changed') -%}
{% endmacro %}

{# SQL condition on `columns`; none if a feed lacks them, or if a model's tests never passed. #}
{% macro changed_since_tested(nodes, columns) %}
  {%- if not columns -%}{%- do return(none) -%}{%- endif -%}
  {%- set changed = [] -%}
  {%- for node in nodes -%}
    {%- set feed = feed_of(node) -%}
    {%- if feed is none -%}{%- do return(none) -%}{%- endif -%}
    {%- set published = columns_of(feed.feed) -%}
    {%- set tested = run_query(
        "select mark.tested::text as tested from " ~ meta_table('mark') ~ " as mark inner join " ~ meta_table('feed') ~ " as feed"
        ~ " on feed.feed = mark.model and feed.pruned_to <= pg_snapshot_xmin(mark.tested) where mark.model = '" ~ node.name ~ "'").rows -%}
    {%- if not tested or columns | reject('in', published) | list -%}{%- do return(none) -%}{%- endif -%}
    {%- do changed.append(
        "select " ~ column_list(columns) ~ " from " ~ feed.feed ~ " where " ~ unseen(tested[0]['tested'], feed)) -%}
  {%- endfor -%}
  {%- do return("(" ~ column_list(columns) ~ ") in (" ~ changed | join(' union ') ~ ")") -%}
{% endmacro %}

{# After a run: models all of whose tests passed in it are tested up to the snapshot with which it began. #}
{% macro note_tests(results) %}
  {%- set verdicts = {} -%}
  {%- for result in results if result.node.resource_type == 'test' -%}
    {%- do verdicts.update({result.node.unique_id: result.status | string in ('pass', 'warn')}) -%}
  {%- endfor -%}
  {%- if not (execute and follows_changes() and verdicts) -%}{%- do return('') -%}{%- endif -%}
  {%- set passed, failed = [], [] -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'test' -%}
    {%- for id in node.depends_on.nodes -%}
      {%- do (passed if verdicts.get(node.unique_id) else failed).append(id) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- set models = [] -%}
  {%- for id in passed | unique if id not in failed and id in graph.nodes -%}{%- do models.append(graph.nodes[id].name) -%}{%- endfor -%}
  {%- if not models -%}{%- do return('') -%}{%- endif -%}
  update {{ meta_table('mark') }} set tested = run.started
  from {{ meta_table('run') }} as run
  where run.invocation_id = '{{ invocation_id }}' and model in ('{{ models | join("', '") }}')
{%- endmacro %}
