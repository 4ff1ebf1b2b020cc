{#
  What `node` (a model) reads, as {feeds, views}: the feeds it has to watch, of its parents and, behind parents without one
  (views), of theirs; and those views. A feed is
    name       of the parent: a model's, or `<source>.<table>`, or what a source calls its feed
    relation   of the parent itself
    feed       relation of its feed
    filters    SQL conditions that pick the parent's entries out of a feed that others share; any of them; mostly none
    label      what marks know it by
    is_model   whether the parent is a model; is_own: and the feed its own, not kept by something else
#}
{% macro read_by(node) %}
  {%- set feeds = {} -%}
  {%- set views = [] -%}
  {%- set seen = [] -%}
  {%- set level = namespace(ids=node.depends_on.nodes | list) -%}
  {%- for _ in range(deepest_chain()) if level.ids -%}
    {%- set behind_views = [] -%}
    {%- for id in level.ids if id not in seen -%}
      {%- do seen.append(id) -%}
      {%- set parent = graph.nodes.get(id) or graph.sources.get(id) -%}
      {%- set feed = feed_of(parent) -%}
      {%- if feed is not none and feed.label in feeds -%}
        {%- do feeds[feed.label].filters.extend(feed.filters) -%}
      {%- elif feed is not none -%}
        {%- do feeds.update({feed.label: feed}) -%}
      {%- elif parent.resource_type == 'model' -%}
        {%- do views.append(parent) -%}
        {%- do behind_views.extend(parent.depends_on.nodes) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- set level.ids = behind_views -%}
  {%- endfor -%}
  {%- do return({'feeds': feeds.values() | list, 'views': views}) -%}
{% endmacro %}

{# Views that read views that read views …: no project has so many levels of them. Jinja has no loop without an end. #}
{% macro deepest_chain() %}{%- do return(100) -%}{% endmacro %}

{# The feed of one node; none if it has none. A model or source may declare `meta: {feed: true}`, or one that something else
   keeps: {table, beside: <source>.<table in the same schema>, name, filter}. #}
{% macro feed_of(node) %}
  {%- set declared = (node.config.get('meta') or {}).get('feed') -%}
  {%- if not declared and node.config.get('materialized') not in publishing_materializations() -%}
    {%- do return(none) -%}
  {%- endif -%}
  {%- set own_name = node.source_name ~ '.' ~ node.name if node.resource_type == 'source' else node.name -%}
  {%- set feed = feed_relation(own_name) -%}
  {%- if declared is mapping and declared.get('table') -%}
    {%- set home = namespace(schema=none) -%}
    {%- for other in graph.sources.values() if declared.beside == other.source_name ~ '.' ~ other.name -%}
      {%- set home.schema = other.schema -%}
    {%- endfor -%}
    {%- set feed = api.Relation.create(database=node.database, schema=home.schema, identifier=declared.table, type='table') -%}
  {%- endif -%}
  {%- set declared = declared if declared is mapping else {} -%}
  {%- do return({
      'name': declared.get('name', own_name),
      'relation': api.Relation.create(
        database=node.database, schema=node.schema,
        identifier=node.get('identifier') or node.get('alias') or node.name, type='table'),
      'feed': feed,
      'filters': [declared.filter] if declared.get('filter') else [],
      'is_model': node.resource_type == 'model',
      'is_own': not declared.get('table'),
      'label': declared.get('name', own_name)}) -%}
{% endmacro %}

{# Feed of a node by its name: feed__fct_sale, feed__raw__orders. #}
{% macro feed_relation(name) %}
  {%- if name | length > 46 -%}
    {#- Postgres cuts names at 63 characters: two of them could come to be one -#}
    {%- do exceptions.raise_compiler_error(name ~ ": too long a name to have a feed; at most 46 characters") -%}
  {%- endif -%}
  {%- do return(meta_table('feed__' ~ name | replace('.', '__'))) -%}
{% endmacro %}

{# Models that follow the feed of `node`, also through views. #}
{% macro consumers_of(node) %}
  {%- set found = [] -%}
  {%- set origins = namespace(ids=[node.unique_id]) -%}
  {%- for _ in range(deepest_chain()) if origins.ids -%}
    {%- set behind_views = [] -%}
    {%- for reader in graph.nodes.values() if reader.resource_type == 'model' -%}
      {%- set reads = namespace(it=false) -%}
      {%- for id in origins.ids if id in reader.depends_on.nodes -%}{%- set reads.it = true -%}{%- endfor -%}
      {%- if reads.it and reader.config.materialized in following_materializations() -%}
        {%- do found.append(reader) -%}
      {%- elif reads.it and feed_of(reader) is none -%}
        {%- do behind_views.append(reader.unique_id) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- set origins.ids = behind_views -%}
  {%- endfor -%}
  {%- do return(found) -%}
{% endmacro %}
