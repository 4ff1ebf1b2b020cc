{#
  Rows of files and databases that a mapping made records of an entity: the columns that the entity's union asks for, out
  of the payload. What the mapping does not fill is null. The types are those of the union's YAML; values were checked
  against them before they became a block (ingestion/data/records.py). `renamed`: columns that get another name here.
#}
{% macro mapped_rows(entity, renamed={}) -%}
  {%- set columns = [] -%}
  {%- for node in (graph.nodes.values() if execute else []) if node.name == 'int_' ~ entity ~ 's__unioned' -%}
    {%- for column in node.columns.values() if column.name not in ('source_id', 'natural_key', 'root_key') -%}
      {%- do columns.append("(payload #>> '{columns," ~ column.name ~ "}')::" ~ column.data_type ~ " as " ~ renamed.get(column.name, column.name)) -%}
    {%- endfor -%}
  {%- endfor -%}
select
    source_id,
    natural_key,
    {{ columns | join(',\n    ') or 'null' }}
from {{ source('raw_data', entity ~ '_current') }}
{%- endmacro %}
