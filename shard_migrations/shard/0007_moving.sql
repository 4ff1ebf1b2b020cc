-- Moving a business faster onto a shard of its own.

-- Indexes that were dropped of a table without rows so that a business is copied into it, and that are made again after
-- the copy. While there are any, no other business comes to this shard: its loads would miss them.
create table {keys}.move_index (
    business int not null,
    relation text not null,                 -- schema without the namespace's prefix, and table
    index text not null,
    definition text not null,               -- create [unique] index …
    constraint_kind char(1) check (constraint_kind in ('p', 'u')),  -- of the constraint with the index's name
    primary key (relation, index)
);

create function {keys}.refuse_company() returns trigger
    language plpgsql as $$
declare
    filled_by int;
begin
    select business into filled_by from {keys}.move_index where business <> new.business limit 1;
    if found then
        raise exception 'business % is being copied to this shard, which takes no other until that is done', filled_by
            using errcode = 'object_in_use', hint = 'larder business moves';
    end if;
    return new;
end $$;

create trigger refuse_company before insert on {keys}.route
    for each row execute function {keys}.refuse_company();

-- A write that did not pass the gate of its business passes it here: it waits for a change-over that is under way, and is
-- refused after it, so that no row is left behind. Arguments as before.
create or replace function {keys}.log_move_change() returns trigger
    language plpgsql as $$
declare
    business int := tg_argv[0];
    noted bigint;
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
    get diagnostics noted = row_count;
    if noted > 0 then
        perform {keys}.write_gate(business);
    end if;
    return null;
end $$;
