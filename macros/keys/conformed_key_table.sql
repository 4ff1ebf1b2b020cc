{#
  conformed_key_table: the business's own locations, employees or items, and the map from its vendors' to them.

  The model keys_<entity> gives one row for each vendor's thing and each way to recognise it:
    source_<entity>_id  id of the vendor's thing (keys_source_<entity>)
    source_id           its source; things of one source are never taken for each other
    name                name for a thing that turns out to be new
    priority            1 is tried first
    rule                vendor_id, sku, payroll_id, email; what a match is recorded as
    match_key           null: not recognisable by this rule

  A thing without a map row is mapped to what a thing of another source of the same business with the same rule and
  match_key is mapped to, else to a new conformed row ('itself'). Rows that exist are a person's to change, never this
  model's. One transaction writes both tables; keys_<entity>_map is the node through which models read the map.

  The loop runs once for each thing never seen before: tens or hundreds, not rows of a fact.
#}
{% materialization conformed_key_table, adapter='postgres' %}
  {%- set entity = model.name[5:] -%}
  {%- set candidates = temporary_relation(this.identifier, '__candidates') -%}
  {%- set own = key_relations(entity, ['id']) -%}
  {%- set map = key_relations(entity ~ '_map', ['source_' ~ entity ~ '_id']) -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- do lock_model(own.written) -%}
  {%- do prepare_key_relation(own) -%}
  {%- do prepare_key_relation(map) -%}

  {%- set reading = start_reading(own.written, true) -%}
  {%- set found, withheld = 0, 0 -%}
  {%- if not reading.nothing -%}
    {%- call statement('main') -%}
      create temporary table {{ candidates }} on commit drop as
      select candidate.*, route.business, route.state <> 'active' as is_withheld
      from (
{{ sql }}
      ) as candidate
      inner join {{ builtins.source('keys', 'route') }} as route
        on route.business = {{ keys_function('business_of') }}(candidate.source_{{ entity }}_id)
          and route.state in ('active', 'paused', 'arriving')
    {%- endcall -%}
    {%- set new_things -%}
      select distinct source_{{ entity }}_id, source_id, business from {{ candidates }} as candidate
      where not is_withheld and not exists (
        select from {{ map.read }} as there where there.source_{{ entity }}_id = candidate.source_{{ entity }}_id
      )
    {%- endset -%}
    {%- set withheld = run_query('select count(*) as n from ' ~ candidates ~ ' where is_withheld').rows[0]['n'] -%}
    {%- set found = run_query('select count(*) as n from (' ~ new_things ~ ') as new_things').rows[0]['n'] | int -%}
    {%- if found > 0 -%}
      {%- if not map.provisional -%}
        {%- do pass_write_gate('(' ~ new_things ~ ') as new_things', 'source_id') -%}
      {%- endif -%}
      {%- call statement('map_new_things') -%}
        {{ map_new_things_sql(entity, own, map, candidates, new_things) }}
      {%- endcall -%}
    {%- endif -%}
  {%- endif -%}
  {#- as in key_table: while a business is paused, its new things wait -#}
  {%- if (not reading.nothing or reading.unseen) and withheld == 0 -%}{%- do finish_reading(reading, own.written) -%}{%- endif -%}
  {%- do record_model_change({'inserted': found, 'deleted': 0, 'unchanged': 0}, reading) -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [this]}) }}
{% endmaterialization %}


{% macro map_new_things_sql(entity, own, map, candidates, new_things) %}
do $larder_do$
declare
  thing record;
  own_id bigint;
  by_rule text;
begin
  for thing in
    {{ new_things }}
    order by business, source_id, source_{{ entity }}_id
  loop
    select known.{{ entity }}_id, mine.rule into own_id, by_rule
    from {{ candidates }} as mine
    inner join {{ candidates }} as other
      on other.business = mine.business and other.rule = mine.rule and other.match_key = mine.match_key
      and other.source_id <> mine.source_id
    inner join {{ map.read }} as known
      on known.source_{{ entity }}_id = other.source_{{ entity }}_id and known.valid_to = 'infinity'
    where mine.source_{{ entity }}_id = thing.source_{{ entity }}_id
    order by mine.priority, known.{{ entity }}_id
    limit 1;

    if own_id is null then
      by_rule := 'itself';
      {% if own.provisional -%}
      select coalesce(min(id) - 1, {{ keys_function('last_id') }}(thing.business)) into own_id
      from {{ own.written }}
      where id between {{ keys_function('first_id') }}(thing.business) and {{ keys_function('last_id') }}(thing.business);
      {%- else -%}
      own_id := {{ keys_function('reserve') }}(thing.business, 1);
      {%- endif %}
      insert into {{ own.written }} (id, parent_id, name)
      select own_id, {{ keys_function('make_id') }}(thing.business, 0), coalesce(min(name), 'unnamed')
      from {{ candidates }} where source_{{ entity }}_id = thing.source_{{ entity }}_id;
    end if;

    insert into {{ map.written }} (source_{{ entity }}_id, {{ entity }}_id, rule, decided_by)
    values (thing.source_{{ entity }}_id, own_id, by_rule, 'rule');
  end loop;
end
$larder_do$
{% endmacro %}


{#
  conformed_map: the node through which models read a map. keys_<entity> fills it (and in development makes its view), so
  the model's own SELECT is not run; the node only makes sure that the map is there to be read.
#}
{% materialization conformed_map, adapter='postgres' %}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- call statement('main') -%}
    select from {{ this }} limit 0
  {%- endcall -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [this]}) }}
{% endmaterialization %}
