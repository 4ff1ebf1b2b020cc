{#
  Hashes of everything that decides what a model computes: its SQL as written, its config, the types of its columns, the
  views it reads, the macros that any of them use, and the values of variables that they name. Not the compiled SQL, which
  also depends on what is on the database (the vendors that a union finds there) and would take that for a change of the
  model.

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
  {%- for constraint in model.get('constraints') or [] -%}{%- do parts[''].append(constraint | string) -%}{%- endfor -%}
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

{# SQL of a node as written, and of the macros it uses, directly or through others: the project's and its packages', but
   not dbt's own, for which dbt's version stands. #}
{% macro code_with_macros(node) %}
  {%- set code = [node.raw_code] -%}
  {%- set seen = [] -%}
  {%- set level = namespace(ids=node.depends_on.macros | list) -%}
  {%- for _ in range(deepest_chain()) if level.ids -%}
    {%- set used = [] -%}
    {%- for id in level.ids if id not in seen and id.split('.')[1] not in ['dbt', 'dbt_postgres'] -%}
      {%- set package, name = id.split('.')[1:] -%}
      {%- set there = context if package == project_name else context.get(package, {}) -%}
      {%- do seen.append(id) -%}
      {%- if name not in macros_without_effect() and there.get(name) is not none -%}
        {%- do code.append(there[name].macro.macro_sql) -%}
        {%- do used.extend(there[name].macro.depends_on.macros) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- set level.ids = used -%}
  {%- endfor -%}
  {%- do return(code + values_named_in(code)) -%}
{% endmacro %}

{# The values of the variables, dbt's and the environment's, that SQL names. Not of secrets, which dbt gives to no model. #}
{% macro values_named_in(code) %}
  {%- set values = [] -%}
  {%- for name in modules.re.findall("\\bvar\\(\\s*['\"]([^'\"]+)['\"]", code | join('\n')) | unique | sort -%}
    {%- do values.append(name ~ ' = ' ~ tojson(var(name, none), sort_keys=true)) -%}
  {%- endfor -%}
  {%- for name in modules.re.findall("\\benv_var\\(\\s*['\"]([^'\"]+)['\"]", code | join('\n')) | unique | sort if not name.startswith('DBT_ENV_SECRET') -%}
    {%- do values.append(name ~ ' = ' ~ env_var(name, '')) -%}
  {%- endfor -%}
  {%- do return(values) -%}
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
