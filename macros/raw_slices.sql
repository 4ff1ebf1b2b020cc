{#
  How changed_facets reads vendors' records: by slices of raw.

  The models int_<entity>s__unioned read raw through views, which unnest and join the records of one vendor. Restricting a
  view from outside would have Postgres compute it whole first (grouping, windows and recursion stop the restriction). So
  each such view has a twin in the schema `slices`, the same SQL over the twins of what it reads, down to
  raw_<vendor>.<stream>_slice, which shows only the records named in raw.slice. A build writes there the facets it is
  about, reads the twins, and empties it again before anybody else could see it.
#}

{# The twin of a view over raw; none for others. #}
{% macro changed_twin_of(node) %}
  {%- if node.config.materialized != 'shard_view' or vendor_of_node(node) is none -%}{%- do return(none) -%}{%- endif -%}
  {%- do return(api.Relation.create(
      database=node.database, schema=builtins.source('raw_slices', 'any').schema, identifier=node.alias, type='view')) -%}
{% endmacro %}

{% macro make_twin(sql) %}
  {%- set twin = changed_twin_of(model) -%}
  {%- if twin is not none -%}
    {%- set text = namespace(sql=sql) -%}
    {%- for id in model.depends_on.nodes -%}
      {%- if id in graph.sources and graph.sources[id].source_name.startswith('raw_') and graph.sources[id].name.endswith('_current') -%}
        {%- set stream = graph.sources[id] -%}
        {%- set slice = api.Relation.create(
            database=stream.database, schema=stream.schema, identifier=stream.identifier[:-('_current' | length)] ~ '_slice') -%}
        {%- set text.sql = text.sql | replace(stream.relation_name, slice.render()) -%}
      {%- elif id in graph.nodes -%}
        {%- set parent_twin = changed_twin_of(graph.nodes[id]) -%}
        {%- if parent_twin is not none -%}
          {%- set text.sql = text.sql | replace(graph.nodes[id].relation_name, parent_twin.render()) -%}
        {%- endif -%}
      {%- endif -%}
    {%- endfor -%}
    {%- call statement('twin') -%}
      {{ replace_view_sql(twin, text.sql) }}
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{# Before and after a build reads twins. #}
{% macro start_slices() %}
  {%- if reads_twins() -%}
    {%- call statement('start_slices') -%}
      insert into {{ builtins.source('raw_ledger', 'slice') }} (source_id, root_key) select source_id, root_key from facets
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}

{% macro end_slices() %}
  {%- if reads_twins() -%}
    {%- call statement('end_slices') -%}delete from {{ builtins.source('raw_ledger', 'slice') }}{%- endcall -%}
  {%- endif -%}
{% endmacro %}

{% macro reads_twins() %}
  {%- for id in model.depends_on.nodes if id in graph.nodes and changed_twin_of(graph.nodes[id]) is not none -%}
    {%- do return(true) -%}
  {%- endfor -%}
  {%- do return(false) -%}
{% endmacro %}

{#
  facet_from of what is made of vendors' records: the `touched` records, by (source_id, root_key), and those that belong
  together with them (a payment's order, a return's). Every way to name records has to pass through here: a slice that
  showed an order without its payment would have the payment's row deleted.
#}
{% macro linked_records(touched='select source_id, natural_key as root_key from changed') -%}
  with recursive touched as (
    select source_id, root_key from ({{ touched }}) as named
    union
    select touched.source_id, link.linked_key
    from touched inner join raw_ledger.link as link on link.source_id = touched.source_id and link.key = touched.root_key
  )
  select source_id, root_key from touched
{%- endmacro %}

{#
  facet_from of the unified records of an entity: what vendors' records link, and, rarely, settings that all records of a
  business or of a site depend on. `sites`: the model that knows at which site a record is; none if its amounts do not
  depend on it.
#}
{% macro record_facets(sites=none) -%}
  {%- set facet_from = {'raw': linked_records()} -%}
  {%- if sites is not none -%}
    {%- do facet_from.update({
        'keys.route': "
          select head.source_id, head.natural_key as root_key
          from changed inner join raw_ledger.head as head on keys.business_of(head.source_id) = changed.business
        ",
        'int_site_currencies': linked_records("
          select sales.source_id, sales.root_key
          from changed inner join " ~ sites ~ " as sales using (source_id, location_key)
        ")}) -%}
    {%- if sites != 'this' -%}{%- do facet_from.update({sites: ''}) -%}{%- endif -%}
  {%- endif -%}
  {{ return(facet_from) }}
{%- endmacro %}

{# Parts of a model that only some shards have: the views of a vendor (changed_facets/drift.sql). #}
{% macro part_of_model(node) %}{%- do return(vendor_of_node(node)) -%}{% endmacro %}
{% macro parts_in_use() %}{%- do return(integrations_on_shard()) -%}{% endmacro %}
