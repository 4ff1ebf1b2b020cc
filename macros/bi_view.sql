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
    {%- if column.name.endswith('_id') -%}
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
  Lets the BI role read a view and what it is made from. With security_invoker a view reads as whoever asks, so that row
  policies on a mart hold for BI too; but without the right to use their schemas the role cannot name the marts itself.
#}
{% macro grant_to_reader() -%}
  {%- if execute and not is_development() -%}
    {%- set relations = [this.render()] -%}
    {%- for node_id in model.depends_on.nodes -%}
      {%- do relations.append(graph.nodes[node_id].relation_name) -%}
    {%- endfor -%}
do $larder_do$
begin
  if exists (select from pg_roles where rolname = 'larder_reader') then
    grant select on {{ relations | join(', ') }} to larder_reader;
  end if;
end
$larder_do$
  {%- endif -%}
{%- endmacro %}
