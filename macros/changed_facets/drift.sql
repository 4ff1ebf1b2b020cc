{#
  Hashes of everything that decides what a model computes: its SQL as written, its config, the types of its columns, the
  views it reads, and the macros of this project that any of them use. Not the compiled SQL, which also depends on what is
  on the database (the vendors that a union finds there) and would take that for a change of the model.

  A mapping part → hash. The part '' is always used; a project whose models have parts that only some databases use (the
  views of one vendor) names them by the macros part_of_model(node) and parts_in_use(); a part that is not in use has the
  word `unused` for its hash.
#}
{% macro code_of_model(views) -%}
  {%- set own_part = {
      'facet': config.get('facet'), 'facet_from': config.get('facet_from'), 'slice': config.get('slice'),
      'unique_key': config.get('unique_key'), 'materialized': config.get('materialized')} -%}
  {%- set parts = {'': [tojson(own_part, sort_keys=true), dbt_version] + code_with_macros(model)} -%}
  {%- for column in model.columns.values() -%}
    {%- do parts[''].append(column.name ~ ' ' ~ column.data_type ~ ' ' ~ column.constraints) -%}
  {%- endfor -%}
  {%- set in_use = context['parts_in_use']() if context.get('parts_in_use') else [] -%}
  {%- set unused = [] -%}
  {%- for view in views -%}
    {%- set part = (context['part_of_model'](view) if context.get('part_of_model') else none) or '' -%}
    {%- if part == '' or part in in_use -%}
      {%- do parts.setdefault(part, []).extend(code_with_macros(view)) -%}
    {%- else -%}
      {%- do unused.append(part) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- set hashes = {} -%}
  {%- for part, code in parts.items() -%}{%- do hashes.update({part: local_md5(code | sort | join('\n'))}) -%}{%- endfor -%}
  {%- for part in unused -%}{%- do hashes.setdefault(part, 'unused') -%}{%- endfor -%}
  {{ return(hashes) }}
{%- endmacro %}

{# SQL of a node as written, and of the project's macros it uses, directly or through others. #}
{% macro code_with_macros(node) %}
  {%- set code = [node.raw_code] -%}
  {%- set seen = [] -%}
  {%- set level = namespace(ids=node.depends_on.macros | list) -%}
  {%- for _ in range(deepest_chain()) if level.ids -%}
    {%- set used = [] -%}
    {%- for id in level.ids if id not in seen and id.split('.')[1] == project_name -%}
      {%- set name = id.split('.')[2] -%}
      {%- do seen.append(id) -%}
      {%- if name not in macros_without_effect() and context.get(name) is not none -%}
        {%- do code.append(context[name].macro.macro_sql) -%}
        {%- do used.extend(context[name].macro.depends_on.macros) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- set level.ids = used -%}
  {%- endfor -%}
  {%- do return(code) -%}
{% endmacro %}

{#
  Whether the code that a mark remembers is still the code. A part that was unused then is no change: all that it reads
  here is newer than the mark. One that the mark does not know came to the project since, and may read what is older.
#}
{% macro same_code(marked, current) %}
  {%- for part, hash in current.items() if hash != 'unused' and marked.get(part) not in [hash, 'unused'] -%}
    {%- do return(false) -%}
  {%- endfor -%}
  {%- do return('' in marked) -%}
{% endmacro %}
