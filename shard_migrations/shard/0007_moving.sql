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
