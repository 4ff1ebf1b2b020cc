-- What autovacuum is to do otherwise than by its own rules. Safe to repeat: nightly maintenance does, for tables that loads
-- and builds have made since. A table that somebody else holds is left for the next time.
create function {keys}.arrange_storage() returns int
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    one record;
    changed int := 0;
begin
    perform set_config('lock_timeout', '500ms', true);
    for one in
        with tables as (
            select
                c.oid, c.reloptions, c.relname, n.nspname,
                n.nspname in ('{keys}', '{raw}', '{meta}') and c.relname like 'feed\_\_%'
                    or n.nspname = '{raw}' and c.relname = 'feed' as is_feed,
                exists (
                    select from {raw}.stream as s
                    where '{raw}_' || s.integration = n.nspname and s.stream = c.relname
                ) or n.nspname = '{raw}' and c.relname in ('loaded_blocks', 'link')
                or n.nspname = '{keys}' and exists (
                    select from pg_attribute as a
                    where a.attrelid = c.oid and a.attname = 'natural_key' and not a.attisdropped
                ) as only_grows
            from pg_class as c
            inner join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'r' and (
                n.nspname in ('{keys}', '{raw}', '{meta}') or n.nspname like replace('{raw}', '_', '\_') || '\_%'
            )
        ),
        wanted as (
            select tables.oid, tables.reloptions, case
                -- Entries come with each change and go with the next build: their number says nothing of how many there
                -- were, and a probe that looks for the newest reads past the dead ones.
                when is_feed then array[
                    'autovacuum_vacuum_scale_factor=0', 'autovacuum_vacuum_threshold=1000',
                    'autovacuum_analyze_scale_factor=0', 'autovacuum_analyze_threshold=1000']
                -- Each record that is read again updates its head: a fifth of all of them is a day's work at once.
                when nspname = '{raw}' and relname = 'head' then array[
                    'autovacuum_vacuum_scale_factor=0.02', 'autovacuum_analyze_scale_factor=0.05']
                -- Rows come and stay. They are frozen by the first vacuum that sees them, not all at once when
                -- transaction ids run out.
                when only_grows then array[
                    'autovacuum_vacuum_insert_scale_factor=0.05', 'autovacuum_freeze_min_age=0',
                    'autovacuum_analyze_scale_factor=0.05']
                -- Emptied by truncate after every load: there is nothing to collect.
                when relname = 'landing' and nspname like replace('{raw}', '_', '\_') || '\_landing\_%' then array[
                    'autovacuum_enabled=false']
            end as options
            from tables
        )
        select wanted.oid::regclass as relation, options from wanted
        where options is not null and not coalesce(reloptions, '{}') @> options
    loop
        begin
            execute format('alter table %s set (%s)', one.relation, array_to_string(one.options, ', '));
            changed := changed + 1;
        exception when lock_not_available then
            continue;
        end;
    end loop;
    return changed;
end $$;

select {keys}.arrange_storage();
