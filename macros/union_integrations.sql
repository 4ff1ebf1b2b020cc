{#
  All integrations' rows of one unified entity, as one SELECT with the columns and types of the model's YAML.

  Files and databases (`data`) may feed any entity: which one, a source's mapping says.

  Every integration that feeds the entity is a parent in the lineage (int_<vendor>__<entity>s); on a shard only those
  with a source there are read. Where there is none the result is empty and typed.

  `root_key` is the key of the vendor's record that a row hangs from: that of the order for everything that belongs to one,
  else the row's own. A vendor whose rows are parts of a record (variations inside an item) gives the column itself, and
  lists it in the YAML of its model.
#}
{% macro union_integrations(entity) -%}
  {%- set parents = {} -%}
  {%- for vendor in integrations_feeding(entity) -%}
    {%- do parents.update({vendor: ref('int_' ~ vendor ~ '__' ~ entity ~ 's')}) -%}
  {%- endfor -%}
  {%- set here = integrations_on_shard() -%}
  {%- set selects = [] -%}
  {%- for vendor, parent in parents.items() if vendor in here -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
      {%- set value = root_of(entity, vendor) if column.name == 'root_key' else column.name -%}
      {%- do columns.append('cast(' ~ value ~ ' as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
    {%- endfor -%}
    {%- do selects.append('select\n    ' ~ columns | join(',\n    ') ~ '\nfrom ' ~ parent) -%}
  {%- endfor -%}
  {%- if selects -%}
    {{ selects | join('\nunion all\n') }}
  {%- else -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
      {%- do columns.append('cast(null as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
    {%- endfor -%}
    select
    {{ columns | join(',\n    ') or 'null' }}
where false
  {%- endif -%}
{%- endmacro %}

{# What a row of the entity hangs from, in the columns of int_<vendor>__<entity>s. #}
{% macro root_of(entity, vendor) -%}
  {%- for node in graph.nodes.values() if node.name == 'int_' ~ vendor ~ '__' ~ entity ~ 's' and 'root_key' in node.columns -%}
    {{ return('root_key') }}
  {%- endfor -%}
  {{ return({
    'sale_item': 'sale_key', 'discount': 'sale_key', 'payment': 'coalesce(sale_key, natural_key)',
    'refund': 'coalesce(sale_key, natural_key)', 'refund_item': 'coalesce(sale_key, refund_key)',
  }.get(entity, 'natural_key')) }}
{%- endmacro %}

{# Names of integrations that tell of guests alone, as an SQL list: a day's trade is complete without them. #}
{% macro integrations_beside_trade() -%}
  {%- set trade, beside = [], ['none'] -%}
  {%- for entity in ['sale', 'payment', 'refund', 'shift', 'ad_spend'] -%}{%- do trade.extend(integrations_feeding(entity)) -%}{%- endfor -%}
  {%- for entity in ['review', 'mailing'] -%}
    {%- for vendor in integrations_feeding(entity) if vendor not in trade -%}{%- do beside.append(vendor) -%}{%- endfor -%}
  {%- endfor -%}
  '{{ beside | join("', '") }}'
{%- endmacro %}
