{#
  The input table of a Python model, empty, where the model has not run yet: so that plain `dbt build` is complete on a
  new shard. Columns and types are those of the table in the source `python`. Use as a pre-hook of the model that
  publishes it. In a development schema production's table is read, and this makes it only where it is missing.
#}
{% macro ensure_python_input(name) %}
  {%- if execute -%}
    {%- for node in graph.sources.values() if node.source_name == 'python' and node.name == name -%}
      {%- set columns = [] -%}
      {%- for column in node.columns.values() -%}
        {%- do columns.append(adapter.quote(column.name) ~ ' ' ~ column.data_type) -%}
      {%- endfor -%}
create table if not exists {{ node.relation_name }} ({{ columns | join(', ') }});
create table if not exists {{ feed_of(node).feed }} (xid xid8 not null default pg_current_xact_id())
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}
