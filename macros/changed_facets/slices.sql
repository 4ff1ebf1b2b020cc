{#
  The model's SELECT over its parents' changed part. Each parent becomes a CTE of the same rows, restricted to the facets;
  `not materialized` lets Postgres plan it as if the restriction stood in the model. The SELECT itself stays as written.
#}
{% macro sliced_sql(sql, feeds) -%}
  {%- set text = namespace(sql=sql) -%}
  {%- set slices = [] -%}
  {%- set parents = [] -%}
  {%- for feed in feeds -%}
    {%- do parents.append({'name': feed.name, 'relation': feed.relation, 'is_cofaceted': is_cofaceted([feed])}) -%}
  {%- endfor -%}
  {%- for view in views_read_directly() -%}
    {%- set twin = context['changed_twin_of'](view.node) if context.get('changed_twin_of') else none -%}
    {%- if twin is not none -%}
      {%- set text.sql = text.sql | replace(view.relation.render(), twin.render()) -%}
    {%- else -%}
      {%- do parents.append({'name': view.node.name, 'relation': view.relation, 'is_cofaceted': is_cofaceted(read_by(view.node).feeds)}) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- set named = [] -%}
  {%- for parent in parents if parent.relation.render() in text.sql -%}{%- do named.append(parent) -%}{%- endfor -%}
  {%- set columns = columns_of_all(named | map(attribute='relation') | list) if named else [] -%}
  {%- set names = ['facets'] -%}
  {%- for parent in named -%}
    {%- set restriction = slice_of(parent, columns[loop.index0]) -%}
    {%- if restriction is not none -%}
      {#- By its own name, so that columns qualified with it resolve as before; else where the model has a CTE so called. -#}
      {%- set own = parent.relation.identifier -%}
      {%- set is_taken = own in names or modules.re.search(
          '(?i)(?<!\\w)"?' ~ own ~ '"?\\s*(\\([^()]*\\)\\s*)?as\\s+((not\\s+)?materialized\\s*)?\\(', sql) is not none -%}
      {%- set name = adapter.quote(('changed' ~ loop.index ~ '__' ~ own)[:63] if is_taken else own) -%}
      {%- do names.append(own) -%}
      {%- do slices.append(name ~ ' as not materialized (\n  select * from ' ~ parent.relation ~ '\n  where ' ~ restriction ~ '\n)') -%}
      {%- set text.sql = text.sql | replace(parent.relation.render(), name) -%}
    {%- endif -%}
  {%- endfor -%}
{% if slices %}with {{ slices | join(',\n') }}

{% endif -%}
select * from (
{{ text.sql }}
) as result
{%- if config.get('slice') %}
-- rows that are only there to be compared with
where {{ in_facets() }}
{%- endif %}
{%- endmacro %}

{# Whether a change of any of these feeds names this model's facets itself. #}
{% macro is_cofaceted(feeds) %}
  {%- for feed in feeds if (config.get('facet_from') or {}).get(feed.name) is none -%}
    {%- do return(true) -%}
  {%- endfor -%}
  {%- do return(false) -%}
{% endmacro %}

{# Parents without a feed of their own. #}
{% macro views_read_directly() %}
  {%- set views = [] -%}
  {%- for id in model.depends_on.nodes if id in graph.nodes and feed_of(graph.nodes[id]) is none -%}
    {%- set node = graph.nodes[id] -%}
    {%- do views.append({
        'node': node,
        'relation': api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)}) -%}
  {%- endfor -%}
  {%- do return(views) -%}
{% endmacro %}

{# The condition that cuts a parent to the changed facets; none: it is read whole, as what it adds is looked up. #}
{% macro slice_of(parent, columns) %}
  {%- set given = (config.get('slice') or {}).get(parent.name) -%}
  {%- if given is not none -%}
    {%- do return(with_relations(given)) -%}
  {%- endif -%}
  {%- if not parent.is_cofaceted or config.get('facet') | reject('in', columns) | list -%}
    {%- do return(none) -%}
  {%- endif -%}
  {%- do return(in_facets()) -%}
{% endmacro %}

{% macro in_facets() -%}
  ({{ column_list(config.get('facet')) }}) in (select {{ column_list(config.get('facet')) }} from facets)
{%- endmacro %}
