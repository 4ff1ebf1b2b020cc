-- Moving a business to another shard: what changed since its copy began, and which parts are copied.

-- arriving: being copied to this shard. Models are built for it, nothing else may be written and BI does not see it yet.
alter table {keys}.route drop constraint route_state_check;
alter table {keys}.route add constraint route_state_check check (state in ('active', 'paused', 'out', 'arriving'));

-- Rows of a moving business that changed, by primary key; and what models were told of it. Written by triggers that exist
-- only while it moves, in the transaction of the change.
create table {keys}.move_change (
    business int not null,
    relation text not null,                 -- schema without the namespace's prefix, and table
    key text[] not null,
    xid xid8 not null default pg_current_xact_id()
);
create index on {keys}.move_change (business, relation);

create table {keys}.move_entry (
    business int not null,
    relation text not null,                 -- of the feed
    entry jsonb not null,
    xid xid8 not null default pg_current_xact_id()
);
create index on {keys}.move_entry (business);

-- Parts of tables on the way here, each copied in one transaction with its row. Bounds are primary keys: from `low` (null:
-- from the beginning) until before `high` (null: to the end).
create table {keys}.move_chunk (
    business int not null,
    relation text not null,
    chunk int not null,
    low text[],
    high text[],
    copied_rows bigint,                     -- null: not copied yet
    primary key (business, relation, chunk)
);

-- Arguments of the triggers: business, relation, column whose bits name the business, and the columns of the primary key.
create function {keys}.log_move_change() returns trigger
    language plpgsql as $$
declare
    business int := tg_argv[0];
    key text;
    changed text := case tg_op when 'INSERT' then 'new_rows' when 'DELETE' then 'old_rows'
        else '(select * from old_rows union all select * from new_rows)' end;
begin
    select string_agg(format('%I::text', name), ', ' order by place) into key
    from unnest(tg_argv[3:]) with ordinality as columns (name, place);
    execute format(
        'insert into {keys}.move_change (business, relation, key)'
        || ' select distinct $1, $2, array[%s] from %s as changed where %I between $3 and $4',
        key, changed, tg_argv[2]
    ) using business, tg_argv[1], {keys}.first_id(business), {keys}.last_id(business);
    return null;
end $$;

-- Arguments: business, relation, column whose bits name the business ('' for a feed without one).
create function {keys}.log_move_entry() returns trigger
    language plpgsql as $$
declare
    business int := tg_argv[0];
begin
    execute format(
        'insert into {keys}.move_entry (business, relation, entry)'
        || ' select distinct $1, $2, to_jsonb(entry) - ''xid'' - ''published_at'' from new_rows as entry %s',
        case when tg_argv[2] = '' then '' else format('where %I between $3 and $4', tg_argv[2]) end
    ) using business, tg_argv[1], {keys}.first_id(business), {keys}.last_id(business);
    return null;
end $$;

-- A table that is emptied or dropped while a business leaves it would leave the copy with what is gone.
create function {keys}.refuse_truncate() returns trigger
    language plpgsql as $$
begin
    raise exception '% cannot be truncated while business % moves', tg_relid::regclass, tg_argv[0]
        using errcode = 'object_in_use', hint = 'larder business move list';
end $$;
