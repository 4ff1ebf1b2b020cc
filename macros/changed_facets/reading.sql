{#
  What a build of this model has to look at. Called first in the transaction, once the model's lock is held; returns
    whole     the model is computed whole (it has no valid mark, or no facets and a parent published something)
    reason    why it is built, for people
    nothing   true: no parent published anything since the mark; there is nothing to do
    facets    how many facets changed, listed in the temporary table `facets`; none if whole
    snapshot, cluster, code, epochs   what the mark will say
    feeds     all feeds that the model follows
    unseen    true: there are entries that the mark had not seen, whatever they touch

  The snapshot is taken before anything is read, in the statement that also reads the epochs: what commits later is either
  seen now and looked at again next time, or not seen and new next time. Never is a commit passed over.
#}
{% macro start_reading(target_relation, existing) %}
  {%- set read = read_by(model) -%}
  {%- set feeds = [] -%}
  {%- for feed in read.feeds if (config.get('facet_from') or {}).get(feed.name) != '' -%}{%- do feeds.append(feed) -%}{%- endfor -%}
  {%- set reading = {
      'whole': true, 'reason': 'development', 'nothing': false, 'facets': none, 'feeds': feeds, 'marks': follows_changes()} -%}
  {%- if not follows_changes() -%}
    {%- do return(reading) -%}
  {%- endif -%}

  {%- do register_feeds(feeds) -%}
  {%- set mark = run_query(mark_sql(target_relation)).rows[0] -%}
  {%- set code = code_of_model(read.views) -%}
  {%- set epochs = fromjson(mark['epochs'] or '{}') -%}
  {%- set seen_epochs = fromjson(mark['reads'] or '{}') -%}
  {%- do reading.update({'snapshot': mark['snapshot'], 'cluster': mark['cluster'], 'code': code, 'epochs': epochs}) -%}
  {%- set lost = [] -%}
  {%- for feed in feeds if seen_epochs.get(feed.label, {}).get('epoch') != epochs.get(feed.label) -%}{%- do lost.append(feed.name) -%}{%- endfor -%}

  {%- if existing is none -%}
    {%- do reading.update({'reason': 'first build'}) -%}
  {%- elif should_full_refresh() -%}
    {%- do reading.update({'reason': 'full refresh'}) -%}
  {%- elif mark['seen'] is none -%}
    {%- do reading.update({'reason': 'no mark'}) -%}
  {%- elif mark['marked_cluster'] != mark['cluster'] -%}
    {%- do reading.update({'reason': 'restored on another cluster'}) -%}
  {%- elif not same_code(fromjson(mark['code']), code) -%}
    {%- do reading.update({'reason': 'the model changed'}) -%}
  {%- elif lost -%}
    {%- do reading.update({'reason': 'built anew: ' ~ lost | join(', ')}) -%}
  {%- elif mark['is_pruned'] -%}
    {%- do reading.update({'reason': 'its feeds do not reach back to its mark'}) -%}
  {%- else -%}
    {#- What the mark says about code and feeds is what the probe and the pruning go by: it is written again if that changed. -#}
    {%- set same = namespace(it=fromjson(mark['code']) == code and seen_epochs | length == feeds | length) -%}
    {%- for feed in feeds if seen_epochs[feed.label].filter != filter_of(feed) -%}{%- set same.it = false -%}{%- endfor -%}
    {%- do reading.update({'whole': false, 'since': mark['seen'], 'stale_mark': not same.it}) -%}
    {%- do follow_changes(reading) -%}
  {%- endif -%}
  {%- do return(reading) -%}
{% endmacro %}

{# Of a model with a valid mark: which parents published something, and which facets that touches. #}
{% macro follow_changes(reading) %}
  {%- set with_news = feeds_with_news(reading.feeds, reading.since) -%}
  {%- if not with_news -%}
    {%- do reading.update({'nothing': true, 'reason': 'nothing new', 'unseen': reading.stale_mark}) -%}
    {%- do return(none) -%}
  {%- endif -%}
  {%- do reading.update({'reason': 'new in ' ~ with_news | map(attribute='name') | join(', '), 'unseen': true}) -%}
  {%- if not config.get('facet') -%}
    {%- do reading.update({'whole': true}) -%}
    {%- do return(none) -%}
  {%- endif -%}
  {%- set found = run_query(facets_sql(with_news, reading.since) ~ ';\n' ~ count_facets_sql()).rows[0] -%}
  {%- if found['without_key'] > 0 -%}
    {%- set guilty = parents_without_key(with_news, reading.since) -%}
    {%- if guilty -%}
      {%- do exceptions.raise_compiler_error(
          model.name ~ ": " ~ found['without_key'] ~ " changed row(s) of its parents (" ~ guilty | join(', ')
          ~ ") have a null in the facet (" ~ config.get('facet') | join(', ') ~ "), so it cannot be said which rows they change."
          ~ " Nothing was changed. Give the column a value in the parent, or leave such rows out with a facet_from.") -%}
    {%- endif -%}
    {%- do reading.update({'whole': true, 'reason': 'rows without a facet were put right'}) -%}
    {%- do return(none) -%}
  {%- endif -%}
  {%- do reading.update({'facets': found['n'] | int, 'nothing': found['n'] | int == 0}) -%}
{% endmacro %}

{#
  The temporary table `facets`: which parts of this model the unseen changes of `feeds` touch.

  A parent without `facet_from` is co-faceted: its feed has the facet's columns. Else facet_from says by SQL over `changed`
  (the parent's unseen changes) which facets those touch; models that this one refs, `this`, and `<source>.<table>` may be
  named in it as they are.
#}
{% macro facets_sql(feeds, since) -%}
  {%- set facet = column_list(config.get('facet')) -%}
create temporary table facets on commit drop as
select distinct {{ facet }}
from (
  {%- for feed in feeds %}
  {%- set mapping = (config.get('facet_from') or {}).get(feed.name) %}
  -- changes of {{ feed.name }}
  {% if mapping is none -%}
  select {{ facet }} from {{ feed.feed }} where {{ unseen(since, feed) }}
  {%- else -%}
  {{ mapped_facets_sql(feed, mapping, since) }}
  {%- endif %}
  {{ 'union all' if not loop.last }}
  {%- endfor %}
) as touched
{%- endmacro %}

{% macro mapped_facets_sql(feed, mapping, since) -%}
  (
    with recursive changed as (
      select * from {{ feed.feed }} where {{ unseen(since, feed) }}
    )
    select {{ column_list(config.get('facet')) }} from (
      {{ with_relations(mapping) }}
    ) as touched
  )
{%- endmacro %}

{#
  Names of the parents that give a null for a facet: by facet_from, or as they have such rows now. A parent that had some,
  and has none any more, is none of them: what was published of it then says nothing, but the model is right once it is
  computed whole.
#}
{% macro parents_without_key(feeds, since) %}
  {%- set sources = [] -%}
  {%- for feed in feeds -%}
    {%- set mapping = (config.get('facet_from') or {}).get(feed.name) -%}
    {%- set rows = feed.relation if mapping is none else mapped_facets_sql(feed, mapping, since) -%}
    {%- do sources.append(rows ~ ' as given where ' ~ no_facet()) -%}
  {%- endfor -%}
  {%- do return(those_with_rows(feeds, sources) | map(attribute='name') | list) -%}
{% endmacro %}

{% macro no_facet() -%}
  {%- for column in config.get('facet') -%}{{ adapter.quote(column) }} is null{{ ' or ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{#
  Entries of a feed that the snapshot `since` could not see: committed later, whenever they began. The first condition is
  for the index; a watermark by sequence or clock would lose transactions that overlap.
#}
{% macro unseen(since, feed) -%}
  xid >= pg_snapshot_xmin('{{ since }}') and not pg_visible_in_snapshot(xid, '{{ since }}')
  {%- if feed.filters %} and ({{ filter_of(feed) }}){% endif -%}
{%- endmacro %}

{% macro filter_of(feed) -%}
  {{ return(feed.filters | unique | sort | join(' or ') or 'true') }}
{%- endmacro %}

{% macro count_facets_sql() -%}
  -- unique, so that Postgres plans `in (select … from facets)` as a join of that many rows, and not as a guess
  create unique index on facets ({{ column_list(config.get('facet')) }});
  analyze facets;
  select count(*) as n, count(*) filter (where {{ no_facet() }}) as without_key from facets
{%- endmacro %}

{# Which of `feeds` have entries that `since` could not see. #}
{% macro feeds_with_news(feeds, since) %}
  {%- set sources = [] -%}
  {%- for feed in feeds -%}{%- do sources.append(feed.feed ~ ' where ' ~ unseen(since, feed)) -%}{%- endfor -%}
  {%- do return(those_with_rows(feeds, sources)) -%}
{% endmacro %}

{# The items of `asked` of which the source beside it (what a select has after `from`) has a row. One statement for all. #}
{% macro those_with_rows(asked, sources) %}
  {%- if not asked -%}{%- do return([]) -%}{%- endif -%}
  {%- set questions = [] -%}
  {%- for source in sources -%}
    {%- do questions.append('select ' ~ loop.index0 ~ ' as place where exists (select from ' ~ source ~ ')') -%}
  {%- endfor -%}
  {%- set found = [] -%}
  {%- for row in run_query(questions | join(' union all ') ~ ' order by 1').rows -%}{%- do found.append(asked[row['place'] | int]) -%}{%- endfor -%}
  {%- do return(found) -%}
{% endmacro %}

{#
  SQL of the config with its names replaced: `this`, models, `<source>.<table>`, and functions of a source's schema
  (`<source>.<function>(…)`).
#}
{% macro with_relations(sql) %}
  {%- set text = namespace(sql=modules.re.sub('(?<![."\\w])this(?![."\\w])', this.render(), sql)) -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name in text.sql -%}
    {%- set relation = api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias) -%}
    {%- set text.sql = modules.re.sub('(?<![."\\w])' ~ node.name ~ '(?!["\\w]|\\.\\w)', relation.render(), text.sql) -%}
  {%- endfor -%}
  {%- for node in graph.sources.values() if node.source_name ~ '.' in text.sql -%}
    {%- set relation = api.Relation.create(database=node.database, schema=node.schema, identifier=node.identifier) -%}
    {%- set text.sql = modules.re.sub('(?<![."\\w])' ~ node.source_name ~ '\\.' ~ node.name ~ '(?!["\\w(])', relation.render(), text.sql) -%}
    {%- set text.sql = modules.re.sub(
        '(?<![."\\w])' ~ node.source_name ~ '\\.(\\w+)\\(', adapter.quote(node.schema) ~ '.\\1(', text.sql) -%}
  {%- endfor -%}
  {%- do return(text.sql) -%}
{% endmacro %}

{# The snapshot, and the mark of this model if there is one. One row, one statement. #}
{% macro mark_sql(relation) -%}
  select
    pg_current_snapshot()::text as snapshot,
    control.system_identifier as cluster,
    mark.seen::text as seen,
    mark.cluster as marked_cluster,
    mark.code,
    mark.reads::text as reads,
    (select jsonb_object_agg(feed.feed, feed.epoch)::text from {{ meta_table('feed') }} as feed) as epochs,
    exists (
      select from {{ meta_table('feed') }} as feed
      where
        mark.reads ? feed.feed
        and (feed.pruned_to > pg_snapshot_xmin(mark.seen) or to_regclass(feed.relation) is null)
    ) as is_pruned
  from pg_control_system() as control
  left join {{ meta_table('mark') }} as mark on mark.model = '{{ model.name }}'
{%- endmacro %}

{# Everything up to the snapshot is in the model now. #}
{% macro finish_reading(reading, relation) %}
  {%- if reading.marks -%}
    {%- set reads = {} -%}
    {%- for feed in reading.feeds -%}{%- do reads.update({feed.label: {'epoch': reading.epochs.get(feed.label), 'filter': filter_of(feed)}}) -%}{%- endfor -%}
    {%- call statement('set_mark') -%}
      insert into {{ meta_table('mark') }} (model, seen, cluster, code, reads, relation)
      values (
        '{{ model.name }}', '{{ reading.snapshot }}', {{ reading.cluster }}, '{{ tojson(reading.code, sort_keys=true) }}',
        '{{ escape_single_quotes(tojson(reads, sort_keys=true)) }}', '{{ relation.include(database=false) }}'
      )
      on conflict (model) do update set
        seen = excluded.seen, cluster = excluded.cluster, code = excluded.code, reads = excluded.reads,
        relation = excluded.relation, marked_at = clock_timestamp(), stale_since = null
    {%- endcall -%}
  {%- endif -%}
{% endmacro %}
