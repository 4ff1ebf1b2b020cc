-- What models need to follow changes instead of tables: who is linked with whom in raw, a slice of raw, and feeds of what
-- migrations own. Feeds are stamped with the writing transaction and read by snapshot difference.

create schema if not exists {slices};

-- ---------------------------------------------------------------------------------------------------------------
-- Records of one source that belong together: a payment and its order, a return and the order it came from. Both
-- directions, and every link that any version ever had, so that a payment put on another order touches both orders.
-- ---------------------------------------------------------------------------------------------------------------
create table {raw}.link (
    source_id bigint not null,
    key text not null,
    linked_key text not null,
    primary key (source_id, key, linked_key)
);

-- The streams of this shard, and the paths at which their records name others.
create table {raw}.stream (
    integration text not null,
    stream text not null,
    links text[] not null default '{}',
    primary key (integration, stream)
);

-- Records that a build looks at, for the views `<stream>_slice`. Rows never outlive the transaction that writes them, so
-- none is ever seen by another; no index, whose unique check would make builds wait for each other.
create unlogged table {raw}.slice (
    source_id bigint not null,
    root_key text not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Up to when each stream of events (orders, shifts; not lists of sites) was asked for, whether or not it had any to tell.
create table {raw}.read_through (
    source_id bigint not null references {keys}.source (id),
    stream text not null,
    observed_at timestamptz not null,
    primary key (source_id, stream)
);

-- raw_<integration>.<stream>: every version of every record, as the vendor sent it; <stream>_current the version in force;
-- <stream>_slice those of them that raw.slice names. `p_links`: jsonpaths of keys of linked records, null to leave as is.
drop function {raw}.ensure_stream(text, text);
create function {raw}.ensure_stream(p_integration text, p_stream text, p_links text[] default null) returns void
    language plpgsql as $$
declare
    s text := '{raw}' || '_' || p_integration;
begin
    if to_regclass(format('%I.%I', s, p_stream || '_slice')) is null then
        perform pg_advisory_xact_lock(hashtextextended(s || '.' || p_stream, 0));
        execute format($ddl$
            create schema if not exists %1$I;
            create table if not exists %1$I.%2$I (
                version_id bigint primary key,
                source_id bigint not null,
                natural_key text not null,
                operation char(1) not null check (operation in ('U', 'D')),
                modified_at timestamptz not null,
                observed_at timestamptz not null,
                block_id uuid,
                generation int not null,
                ordinal bigint not null,
                hash uuid not null,
                payload jsonb not null,
                xid xid8 not null default pg_current_xact_id()
            );
            create index if not exists %3$I on %1$I.%2$I (source_id, natural_key);
            create or replace view %1$I.%4$I as
                select v.*
                from {raw}.head as h
                inner join %1$I.%2$I as v using (version_id)
                where h.stream = %5$L and not h.is_deleted;
            create or replace view %1$I.%6$I as
                select v.*
                from {raw}.slice as s
                inner join {raw}.head as h
                    on h.source_id = s.source_id and h.stream = %5$L and h.natural_key = s.root_key
                inner join %1$I.%2$I as v on v.version_id = h.version_id
                where not h.is_deleted;
        $ddl$, s, p_stream, p_stream || '_source_key', p_stream || '_current', p_stream, p_stream || '_slice');
        insert into {raw}.stream (integration, stream) values (p_integration, p_stream) on conflict do nothing;
    end if;
    if p_links is not null and not exists (
        select from {raw}.stream where integration = p_integration and stream = p_stream and links = p_links
    ) then
        perform {raw}.link_all_versions(p_integration, p_stream, p_links);
        insert into {raw}.stream (integration, stream, links) values (p_integration, p_stream, p_links)
        on conflict (integration, stream) do update set links = excluded.links;
    end if;
end $$;

-- The links of what was loaded before a stream declared them; each publish adds those of its own versions.
create function {raw}.link_all_versions(p_integration text, p_stream text, p_links text[]) returns void
    language plpgsql as $$
begin
    execute format($sql$
        insert into {raw}.link (source_id, key, linked_key)
        select distinct found.source_id, pair.key, pair.linked_key
        from (
            select v.source_id, v.natural_key, target.value #>> '{}' as named
            from %I.%I as v
            cross join unnest($1) as link (path)
            cross join lateral jsonb_path_query(v.payload, link.path::jsonpath) as target (value)
        ) as found
        cross join lateral (
            values (found.natural_key, found.named), (found.named, found.natural_key)
        ) as pair (key, linked_key)
        where found.named <> '' and found.named <> found.natural_key
        on conflict do nothing
    $sql$, '{raw}' || '_' || p_integration, p_stream) using p_links;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- Feeds of the tables that migrations own: what models read of a row, old and new, wherever that changed, by whomever.
-- Written by triggers.
-- ---------------------------------------------------------------------------------------------------------------
create function {keys}.publish_change() returns trigger
    language plpgsql as $$
declare
    feed regclass := format('%I.%I', tg_table_schema, 'feed__' || tg_table_name)::regclass;
    columns text;
    changed text;
begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into columns
    from pg_attribute where attrelid = feed and attnum > 0 and not attisdropped and attname <> 'xid';
    changed := case tg_op
        when 'INSERT' then 'select %2$s from new_rows'
        when 'DELETE' then 'select %2$s from old_rows'
        else '(select %2$s from old_rows except select %2$s from new_rows)'
            || ' union all (select %2$s from new_rows except select %2$s from old_rows)'
    end;
    execute format('insert into %1$s (%2$s) select distinct %2$s from (' || changed || ') as changed', feed, columns);
    return null;
end $$;

do $$
declare
    watched record;
begin
    for watched in
        select * from (values
            ('{keys}', 'route', 'business, name, display_name, reporting_currency, first_weekday'),
            ('{keys}', 'source', 'id, integration, name'),
            ('{keys}', 'clock', 'now'),
            ('{keys}', 'location', 'id, name'),
            ('{keys}', 'employee', 'id, name'),
            ('{keys}', 'item', 'id, name'),
            ('{keys}', 'location_map', 'source_location_id, location_id, valid_from, valid_to'),
            ('{keys}', 'employee_map', 'source_employee_id, employee_id, valid_from, valid_to'),
            ('{keys}', 'item_map', 'source_item_id, item_id, valid_from, valid_to'),
            ('{keys}', 'campaign_location_map', 'source_campaign_id, location_id, valid_from, valid_to'),
            ('{keys}', 'location_setting', 'location_id, valid_from, valid_to, timezone, day_start, overtime_weekly_hours, overtime_multiplier'),
            ('{raw}', 'quarantine', 'source_id, business_date, state'),
            ('{raw}', 'read_through', 'source_id, observed_at')
        ) as tables (in_schema, name, columns)
    loop
        execute format($ddl$
            create table %1$I.%2$I as select %3$s from %1$I.%4$I limit 0;
            alter table %1$I.%2$I add column xid xid8 not null default pg_current_xact_id();
            create index on %1$I.%2$I (xid);
            create trigger publish_insert after insert on %1$I.%4$I referencing new table as new_rows
                for each statement execute function {keys}.publish_change();
            create trigger publish_update after update on %1$I.%4$I referencing old table as old_rows new table as new_rows
                for each statement execute function {keys}.publish_change();
            create trigger publish_delete after delete on %1$I.%4$I referencing old table as old_rows
                for each statement execute function {keys}.publish_change();
        $ddl$, watched.in_schema, 'feed__' || watched.name, watched.columns, watched.name);
    end loop;
end $$;
drop table {keys}.change;

-- From which code, and for which integrations, the whole project was last handed to the models. What each model has seen
-- is in its own mark.
alter table {raw}.build_mark
    drop column seen,
    alter column as_of drop not null,       -- the vendors' day on which Python models last ran
    add column integrations text[] not null default '{}',
    add column models text[] not null default '{}';
