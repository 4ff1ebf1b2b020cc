{#
  After a run: entries that every mark has seen are deleted, and marks and feeds of models that are gone. A mark that stays
  behind for too long is dropped, and its model is computed whole when it next succeeds: one broken model lets no feed grow
  for ever, nor does a test that never passes, which then reads its model whole.
#}
{% macro prune_feeds() -%}
  {%- if execute and follows_changes() -%}
    {%- set models = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' -%}{%- do models.append(node.name) -%}{%- endfor -%}
    {%- set labels = {} -%}
    {%- for node in graph.nodes.values() -%}{%- if node.resource_type == 'model' and feed_of(node) is not none -%}{%- do labels.update({feed_of(node).label: 1}) -%}{%- endif -%}{%- endfor -%}
    {%- for node in graph.sources.values() -%}{%- if feed_of(node) is not none -%}{%- do labels.update({feed_of(node).label: 1}) -%}{%- endif -%}{%- endfor -%}
    {%- set mark, known, lag = meta_table('mark'), meta_table('feed'), longest_lag() -%}
do $larder$
declare
  feed record;
  reader record;
  needed_from xid8;
  entries bigint;
  is_dropped boolean;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('{{ known }}', 0)) then
    return;  -- another run prunes
  end if;
  delete from {{ mark }} where not model = any (array['{{ models | join("', '") }}']::text[]);

  -- Of a source that is gone the triggers go first: without their feed they would let nobody write it any more. A feed
  -- that something else keeps, outside this schema, is left to that.
  for feed in
    select known.feed, class.relname as own_table
    from {{ known }} as known
    left join pg_class as class
      on class.oid = to_regclass(known.relation) and class.relnamespace = '{{ adapter.quote(changed_facets_schema()) }}'::regnamespace
    where not known.feed = any (array['{{ labels.keys() | join("', '") }}']::text[])
  loop
    if feed.own_table is not null then
      execute format('drop function if exists {{ adapter.quote(changed_facets_schema()) }}.%I() cascade', feed.own_table || '_publish');
      execute format('drop table {{ adapter.quote(changed_facets_schema()) }}.%I', feed.own_table);
    end if;
    delete from {{ known }} as known where known.feed = feed.feed;
  end loop;
  delete from {{ meta_table('run') }} where started_at < now() - interval '1 day';

  -- A model without news sees that there are none: else its old mark would hold back what others have long seen.
  for reader in
    select
      mark.model,
      string_agg(format(
        'exists (select from %s where xid >= pg_snapshot_xmin(mark.seen) and not pg_visible_in_snapshot(xid, mark.seen) and (%s))',
        known.relation, reads.value ->> 'filter'), ' or ') as news
    from {{ mark }} as mark
    cross join lateral jsonb_each(mark.reads) as reads
    inner join {{ known }} as known on known.feed = reads.key
    where to_regclass(known.relation) is not null
    group by mark.model
  loop
    execute format(
      'update {{ mark }} as mark set seen = pg_current_snapshot(), stale_since = null'
      || ' where mark.model = %L and mark.seen::text <> pg_current_snapshot()::text and not (%s)', reader.model, reader.news);
  end loop;

  for feed in select known.feed, known.relation from {{ known }} as known where to_regclass(known.relation) is not null loop
    for attempt in 1..2 loop
      -- what the slowest has not seen is needed; also what began before this, as a build that has no mark yet may follow it
      select behind.xid into needed_from
      from (
        select pg_snapshot_xmin(seen) as xid from {{ mark }} where reads ? feed.feed
        union all
        select pg_snapshot_xmin(tested) from {{ mark }} where model = feed.feed and tested is not null
        union all
        select pg_snapshot_xmin(pg_current_snapshot())
      ) as behind
      order by behind.xid
      limit 1;

      execute format('select count(*) from (select from %s where xid >= $1 limit $2) as waiting', feed.relation)
        into entries using needed_from, {{ lag.entries }} + 1;
      update {{ mark }} set stale_since = now()
      where stale_since is null and entries > 0 and pg_snapshot_xmin(seen) = needed_from and reads ? feed.feed;

      delete from {{ mark }}
      where
        reads ? feed.feed
        and (
          stale_since < now() - make_interval(days => {{ lag.days }})
          or (entries > {{ lag.entries }} and pg_snapshot_xmin(seen) = needed_from)
        );
      is_dropped := found;
      update {{ mark }} set tested = null
      where model = feed.feed and entries > {{ lag.entries }} and pg_snapshot_xmin(tested) = needed_from;
      exit when not is_dropped and not found;
      raise notice 'models too far behind % are computed whole next time, or tested whole', feed.feed;
    end loop;

    execute format('delete from %s where xid < $1', feed.relation) using needed_from;
    if found then
      update {{ known }} as known set pruned_to = needed_from where known.feed = feed.feed and known.pruned_to < needed_from;
    end if;
  end loop;
end $larder$
  {%- endif -%}
{%- endmacro %}
