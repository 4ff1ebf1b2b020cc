-- The administrator need not be a superuser (docs/access.md): it is in the roles that it gives things to, and those may
-- have them.

-- Owners and rights, whatever migrations and builds have made since: run by the administrator, as often as one likes.
create or replace function {keys}.arrange_access() returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    built constant text[] := array['{staging}', '{intermediate}', '{slices}', '{marts}', '{bi}', '{meta}'];
    commands text[];
    command text;
    one record;
begin
    perform set_config('lock_timeout', '500ms', true);
    create schema if not exists {meta};
    -- Whoever is not a superuser can give a table only to a role that may make tables in its schema.
    grant create on schema {keys} to larder_transformer;
    commands := array(
        with schemas as (
            select n.oid, n.nspname, n.nspowner, case
                when n.nspname = any (built) then 'larder_transformer'
                when n.nspname in ('{keys}', '{raw}') then 'larder_owner'
                when n.nspname like replace('{raw}', '_', '\_') || '\_landing\_%' then 'larder_loader'
                when n.nspname = regexp_replace('{raw}', 'raw$', 'custom') then 'larder_loader'
                when n.nspname in (select '{raw}_' || integration from {raw}.stream) then 'larder_owner'
            end as owner
            from pg_namespace as n
        ),
        -- what builds index and fill in {keys} is theirs; so are the tables behind views of the same schemas
        owned as (
            select 'schema' as kind, format('%I', nspname) as name, nspowner as has, owner from schemas
            union all
            select
                case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                    else 'table' end,
                format('%I.%I', s.nspname, c.relname), c.relowner,
                case when s.nspname = '{keys}' and exists (
                    select from pg_attribute as a where a.attrelid = c.oid and not a.attisdropped
                        and (a.attname = 'parent_id' or a.attname = 'valid_from')
                ) then 'larder_transformer' else s.owner end
            from schemas as s inner join pg_class as c on c.relnamespace = s.oid
            where c.relkind in ('r', 'p', 'v', 'm', 'S')
            union all
            select 'routine', p.oid::regprocedure::text, p.proowner, s.owner
            from schemas as s inner join pg_proc as p on p.pronamespace = s.oid
            where p.prorettype <> 'event_trigger'::regtype  -- runs as the administrator, as event triggers do
        )
        select format('alter %s %s owner to %I', owned.kind, owned.name, owned.owner)
        from owned inner join pg_roles as r on r.rolname = owned.owner and r.oid <> owned.has
        order by owned.kind <> 'schema'
    );
    foreach command in array commands loop
        execute command;
    end loop;

    grant usage on schema {keys}, {raw} to larder_loader, larder_transformer, larder_router, larder_owner;
    grant usage on schema {bi} to larder_reader, larder_tenant;
    grant usage on schema {staging}, {intermediate}, {marts}, {bi}, {meta} to larder_loader;

    grant select on all tables in schema {keys} to larder_loader, larder_transformer, larder_router, larder_owner;
    grant select on all tables in schema {raw} to larder_loader, larder_transformer, larder_router;
    for one in
        select n.nspname = '{keys}' as is_keys, c.relname, format('%I.%I', n.nspname, c.relname) as name
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('{keys}', '{raw}') and c.relkind = 'r'
            and c.relname not in ('tenant', 'workspace', 'schema_history', 'schema_version')
    loop
        execute format('grant insert, update, delete on %s to larder_router', one.name);
        if not one.is_keys or one.relname in ('counter', 'move_change', 'move_entry') then
            execute format('grant insert, update, delete on %s to larder_loader', one.name);
        end if;
        if one.is_keys or one.relname in ('slice', 'build_mark', 'feed', 'read_through') or one.relname like 'feed\_\_%' then
            execute format('grant insert, update, delete on %s to larder_transformer', one.name);
        end if;
        if current_setting('server_version_num')::int >= 170000 then
            execute format('grant maintain on %s to larder_loader, larder_transformer', one.name);
        end if;
    end loop;

    revoke execute on all functions in schema {keys}, {raw} from public;
    grant execute on all functions in schema {keys}, {raw} to larder_loader, larder_transformer, larder_router,
        larder_owner, larder_inspector;
    grant execute on function {keys}.make_id(int, bigint), {keys}.business_of(bigint), {keys}.first_id(int),
        {keys}.last_id(int) to larder_reader, larder_tenant;

    grant select on {keys}.route to larder_reader, larder_tenant;
    grant select on {keys}.tenant, {keys}.own_range to larder_tenant;
    grant usage on schema {raw} to larder_tenant_raw;
    grant select on {raw}.head to larder_tenant_raw;

    -- What lets one user of a database hinder or fill it for all. In the catalog, so only a superuser can.
    if (select rolsuper from pg_roles where rolname = current_user) then
        for one in
            select oid::regprocedure::text as name from pg_proc
            where pronamespace = 'pg_catalog'::regnamespace
                and (proname like 'pg\_advisory\_%' or proname like 'pg\_try\_advisory\_%' or proname like 'lo\_%'
                     or proname in ('lowrite', 'loread', 'pg_notify', 'pg_logical_emit_message'))
                and exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)
        loop
            execute format('revoke execute on function %s from public', one.name);
            execute format('grant execute on function %s to larder_all_rows, larder_owner', one.name);
        end loop;
    end if;
end $$;

-- As in 0006_access.sql, but that a table of a workspace hides nothing from its owner, and so nothing from a backup.
create or replace function {keys}.hold_workspaces() returns event_trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    one record;
begin
    if not exists (select from {keys}.workspace where role = session_user) then
        return;
    end if;
    for one in
        select c.oid::regclass as relation, t.tgenabled
        from {keys}.workspace as w
        inner join pg_namespace as n on n.nspname = w.schema
        inner join pg_class as c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
        left join pg_trigger as t on t.tgrelid = c.oid and t.tgname = 'hold_quota'
            and t.tgfoid = '{keys}.hold_quota()'::regprocedure and t.tgqual is null and t.tgtype = 20
        where w.role = session_user and t.tgenabled is distinct from 'A'
    loop
        if one.tgenabled is null then  -- each of these commands calls this function again, which finds less to do
            execute format(
                'create or replace trigger hold_quota after insert or update on %s for each statement'
                || ' execute function {keys}.hold_quota()', one.relation);
        end if;
        execute format('alter table %s enable always trigger hold_quota', one.relation);
    end loop;
    if exists (
        select from {keys}.workspace as w
        inner join pg_namespace as n on n.nspname = w.schema
        inner join pg_class as c on c.relnamespace = n.oid and c.relforcerowsecurity
        where w.role = session_user
    ) then
        raise exception 'row security is not forced on tables of a workspace: no backup could be made of them' using
            errcode = 'feature_not_supported';
    end if;
    perform {keys}.require_room(w.schema) from {keys}.workspace as w where w.role = session_user;
end $$;
