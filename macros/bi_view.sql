{#
  A mart for BI tools: all its columns, ids as text too (64 bits, sometimes negative: JavaScript tools break them), and
  only rows of businesses that are active on this shard: of two copies during a move exactly one is visible.

  mart   the mart
  owner  its column whose bits name the business; none for a mart without business
#}
{% macro bi_view(mart, owner=none) -%}
  {%- set columns = [] -%}
  {%- for column in adapter.get_columns_in_relation(mart) if execute -%}
    {%- do columns.append('mart.' ~ column.name) -%}
    {%- if column.name.endswith('_id') or '_id_' in column.name -%}
      {%- do columns.append('mart.' ~ column.name ~ '::text as ' ~ column.name ~ '_text') -%}
    {%- endif -%}
  {%- endfor -%}
select
    {{ columns | join(',\n    ') or '*' }}
from {{ mart }} as mart
  {%- if owner %}
{{ active_business('mart.' ~ owner) }}
  {%- endif -%}
{%- endmacro %}

{# Joins `business` and drops rows of businesses that are not active on this shard. #}
{% macro active_business(id) -%}
inner join {{ ref('stg_shard__businesses') }} as business
    on business.business_number = {{ keys_function('business_of') }}({{ id }})
    and business.is_active
{%- endmacro %}

{#
  Lets the BI role and every business's own read a view and what it is made from, in the transaction that makes the view.
  With security_invoker a view reads as whoever asks, so the row security that tables get here holds for BI; without the
  right to use their schemas the roles cannot name the marts themselves. A mart whose rows are for all businesses says so:
  `meta: {of_no_business: true}`.
#}
{% macro grant_to_reader() -%}
  {%- if execute and not is_development() -%}
    {%- set relations = ["'" ~ this.render() ~ "'"] -%}
    {%- set of_no_business = [] -%}
    {%- for node_id in model.depends_on.nodes -%}
      {%- set node = graph.nodes[node_id] -%}
      {%- do relations.append("'" ~ node.relation_name ~ "'") -%}
      {%- if (node.config.get('meta') or {}).get('of_no_business') -%}{%- do of_no_business.append("'" ~ node.relation_name ~ "'") -%}{%- endif -%}
    {%- endfor -%}
select {{ keys_function('open_to_bi') }}(array[{{ relations | join(', ') }}]::regclass[], array[{{ of_no_business | join(', ') }}]::regclass[])
  {%- endif -%}
{%- endmacro %}
