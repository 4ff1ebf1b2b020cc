-- Who may do what on a shard, and who sees which rows. docs/access.md tells it for people; sharding/access/ makes the
-- roles (they belong to the whole server) before this runs, and calls arrange_access() after the newest migration.

-- The read role of a business. Row security asks for it by current_user, which no role can set to another's name.
create table {keys}.tenant (
    role name primary key,
    business int not null unique check (business between 0 and 524287),
    reads_raw boolean not null default false,
    granted_at timestamptz not null default clock_timestamp()
);

-- A schema that a business may write, and how much it may hold.
create table {keys}.workspace (
    schema name primary key,
    role name not null,
    quota_bytes bigint not null check (quota_bytes > 0)
);

-- The ids of whoever asks: its own rows, and only while its business is here. Empty for all others.
create view {keys}.own_range with (security_invoker = true) as
select {keys}.first_id(tenant.business) as low, {keys}.last_id(tenant.business) as high
from {keys}.tenant as tenant
inner join {keys}.route as route on route.business = tenant.business
where tenant.role = current_user and route.state in ('active', 'paused');

alter table {keys}.tenant enable row level security;
create policy all_rows on {keys}.tenant to larder_all_rows using (true) with check (true);
create policy own_rows on {keys}.tenant for select to larder_tenant using (role = current_user);

alter table {keys}.route enable row level security;
create policy all_rows on {keys}.route to larder_all_rows using (true) with check (true);
create policy own_rows on {keys}.route for select to larder_tenant
    using (business = (select tenant.business from {keys}.tenant as tenant where tenant.role = current_user));

-- The column whose bits name the business: what leads the grain's index, else the first id.
create function {keys}.owner_column(p_relation regclass) returns name
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select a.attname
    from pg_attribute as a
    left join pg_index as i on i.indrelid = a.attrelid and i.indisunique and i.indpred is null and i.indkey[0] = a.attnum
    where a.attrelid = p_relation and a.attnum > 0 and not a.attisdropped and a.atttypid = 'int8'::regtype
        and (a.attname = 'id' or a.attname like '%\_id')
    order by i.indexrelid is null, a.attnum
    limit 1
$$;

-- Row security of a table with rows of businesses. A table that has it is left alone: the lock is taken once. The range
-- is asked for by subqueries without parameters: looked up once a statement, and a condition that an index can serve.
create function {keys}.protect(p_relation regclass, p_column name default null) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    owner_column name := coalesce(p_column, {keys}.owner_column(p_relation));
begin
    if owner_column is null then
        raise exception '% has no column whose bits name a business', p_relation using
            errcode = 'invalid_table_definition', hint = 'if its rows are for all businesses: meta: {of_no_business: true}';
    end if;
    if (select c.relrowsecurity from pg_class as c where c.oid = p_relation)
        and (select count(*) from pg_policy where polrelid = p_relation and polname in ('all_rows', 'own_rows')) = 2
    then
        return;
    end if;
    execute format('drop policy if exists all_rows on %s', p_relation);
    execute format('drop policy if exists own_rows on %s', p_relation);
    execute format('create policy all_rows on %s to larder_all_rows using (true) with check (true)', p_relation);
    execute format(
        'create policy own_rows on %1$s for select to larder_tenant using'
        || ' (%2$I >= (select low from {keys}.own_range) and %2$I <= (select high from {keys}.own_range))',
        p_relation, owner_column
    );
    execute format('alter table %s enable row level security', p_relation);
end $$;

-- Let BI and every business's role read a view and what it reads. Tables get row security in the same transaction, but
-- for those of `p_of_no_business`. A view that read with its owner's rights would show everybody's rows: refused.
create function {keys}.open_to_bi(p_relations regclass[], p_of_no_business regclass[] default '{}') returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    relation regclass;
begin
    foreach relation in array p_relations loop
        if (select relkind from pg_class where oid = relation) = 'v' then
            if not coalesce((select reloptions && array['security_invoker=true', 'security_invoker=on']
                             from pg_class where oid = relation), false)
            then
                raise exception '% reads with its owner''s rights', relation using
                    errcode = 'invalid_object_definition', hint = '+view_options: {security_invoker: true}';
            end if;
        elsif not relation = any (p_of_no_business) then
            perform {keys}.protect(relation);
        end if;
        if not has_table_privilege('larder_tenant', relation, 'select')
            or not has_table_privilege('larder_reader', relation, 'select')
        then
            execute format('grant select on %s to larder_reader, larder_tenant', relation);
        end if;
    end loop;
end $$;

-- A view of a business's own table ({custom}.<business>__<table>, made by loads) for its role. It reads with its owner's
-- rights, behind a barrier: no function of the asker's sees a row before the view has said whose it is.
create function {keys}.open_custom(p_view regclass, p_business int) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    asking name := (select role from {keys}.tenant where business = p_business);
begin
    execute format('alter view %s set (security_barrier = true)', p_view);
    execute format('comment on view %s is %L', p_view, 'business ' || p_business);
    if asking is not null then
        execute format('grant usage on schema %I to %I',
            (select n.nspname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace where c.oid = p_view), asking);
        execute format('grant select on %s to %I', p_view, asking);
    end if;
end $$;

create function {keys}.open_custom(p_business int) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    views regclass[] := array(
        select c.oid::regclass from pg_class as c
        where c.relnamespace = to_regnamespace(quote_ident(regexp_replace('{raw}', 'raw$', 'custom'))) and c.relkind = 'v'
            and obj_description(c.oid, 'pg_class') = 'business ' || p_business
    );
    shown regclass;
begin
    foreach shown in array views loop
        perform {keys}.open_custom(shown, p_business);
    end loop;
end $$;

-- What the roles may do in a vendor's schema.
create function {raw}.open_stream(p_schema name, p_stream text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format(
        'grant usage on schema %I to larder_loader, larder_transformer, larder_router, larder_tenant_raw', p_schema);
    execute format('grant select, insert, update, delete on %I.%I to larder_loader, larder_router', p_schema, p_stream);
    if current_setting('server_version_num')::int >= 170000 then
        execute format('grant maintain on %I.%I to larder_loader', p_schema, p_stream);
    end if;
    execute format(
        'grant select on %1$I.%2$I, %1$I.%3$I to larder_transformer, larder_loader, larder_router, larder_tenant_raw',
        p_schema, p_stream, p_stream || '_current');
    execute format('grant select on %I.%I to larder_transformer', p_schema, p_stream || '_slice');
    perform {keys}.protect(format('%I.%I', p_schema, p_stream)::regclass, 'source_id');
end $$;

-- As in 0003_change_feeds.sql, but the tables belong to larder_owner whoever loads first, the views read with the rights
-- of whoever asks, and row security comes with the table.
create or replace function {raw}.ensure_stream(p_integration text, p_stream text, p_links text[] default null)
    returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
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
            create or replace view %1$I.%4$I with (security_invoker = true) as
                select v.*
                from {raw}.head as h
                inner join %1$I.%2$I as v using (version_id)
                where h.stream = %5$L and not h.is_deleted;
            create or replace view %1$I.%6$I with (security_invoker = true) as
                select v.*
                from {raw}.slice as s
                inner join {raw}.head as h
                    on h.source_id = s.source_id and h.stream = %5$L and h.natural_key = s.root_key
                inner join %1$I.%2$I as v on v.version_id = h.version_id
                where not h.is_deleted;
        $ddl$, s, p_stream, p_stream || '_source_key', p_stream || '_current', p_stream, p_stream || '_slice');
        insert into {raw}.stream (integration, stream) values (p_integration, p_stream) on conflict do nothing;
        perform {raw}.open_stream(s, p_stream);
    end if;
    if p_links is not null and not exists (
        select from {raw}.stream where integration = p_integration and stream = p_stream and links = p_links
    ) then
        perform {raw}.link_all_versions(p_integration, p_stream, p_links);
        insert into {raw}.stream (integration, stream, links) values (p_integration, p_stream, p_links)
        on conflict (integration, stream) do update set links = excluded.links;
    end if;
end $$;

-- Streams that are there already.
do $$
declare
    one record;
begin
    perform {keys}.protect('{raw}.head'::regclass, 'source_id');
    for one in select '{raw}_' || integration as schema, stream from {raw}.stream loop
        execute format('alter view %I.%I set (security_invoker = true)', one.schema, one.stream || '_current');
        execute format('alter view %I.%I set (security_invoker = true)', one.schema, one.stream || '_slice');
        perform {raw}.open_stream(one.schema, one.stream);
    end loop;
end $$;

-- Owners and rights, whatever migrations and builds have made since: run by the administrator, as often as one likes.
create function {keys}.arrange_access() returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    built constant text[] := array['{staging}', '{intermediate}', '{slices}', '{marts}', '{bi}', '{meta}'];
    commands text[];
    command text;
    one record;
begin
    perform set_config('lock_timeout', '500ms', true);
    create schema if not exists {meta};
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
    grant create on schema {keys} to larder_transformer;
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

-- ---------------------------------------------------------------------------------------------------------------
-- Workspaces. Each statement that adds to one ends with a look at its size; one that went over is undone. The triggers
-- come with the table, and come back if its owner takes them off: an event trigger sees to it after each command that
-- changes objects (sharding/access/workspace.py makes it, on instances that have a workspace).
-- ---------------------------------------------------------------------------------------------------------------
create function {keys}.workspace_bytes(p_schema name) returns bigint
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = p_schema and c.relkind in ('r', 'm', 'S')
$$;

create function {keys}.require_room(p_schema name) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    allowed bigint := (select quota_bytes from {keys}.workspace where schema = p_schema);
    held bigint := {keys}.workspace_bytes(p_schema);
begin
    if held > allowed then
        raise exception 'schema % would hold % of % bytes', p_schema, held, allowed using
            errcode = 'disk_full', hint = 'drop or truncate tables; what deleted rows leave is free after a vacuum full';
    end if;
end $$;

create function {keys}.hold_quota() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform {keys}.require_room(tg_table_schema);
    return null;
end $$;

create function {keys}.hold_workspaces() returns event_trigger
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
    perform {keys}.require_room(w.schema) from {keys}.workspace as w where w.role = session_user;
end $$;
