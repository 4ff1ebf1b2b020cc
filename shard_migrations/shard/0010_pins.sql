-- A pinned transaction writes no other business, and no key is without the thing it hangs from.

-- The business that sharding/router.py has pinned this transaction to; null for loads, builds and moves, which handle
-- many businesses and check what they write themselves.
create function {keys}.pinned_business() returns int
    language sql stable parallel safe
    return nullif(current_setting('larder.business', true), '')::int;

create function {keys}.refuse_other(p_business int) returns void
    language plpgsql as $$
begin
    if p_business <> {keys}.pinned_business() then
        raise exception 'business % is written under a pin of business %', p_business, {keys}.pinned_business()
            using errcode = 'LD002', hint = 'pin the business whose rows they are';
    end if;
end $$;

create or replace function {keys}.reserve(p_business int, how_many bigint) returns bigint
    language plpgsql as $$
declare
    first_number bigint;
begin
    perform {keys}.refuse_other(p_business);
    if how_many < 1 then
        raise exception 'cannot reserve % numbers', how_many using errcode = 'invalid_parameter_value';
    end if;
    insert into {keys}.counter as c (business, next) values (p_business, 1 + how_many)
    on conflict (business) do update set next = c.next + how_many
    returning next - how_many into first_number;
    return {keys}.make_id(p_business, first_number);
end $$;

-- A writer of a stricter isolation than READ COMMITTED would pass by its old snapshot when the business has left.
create or replace function {keys}.write_gate(p_business int) returns bigint
    language plpgsql as $$
declare
    r {keys}.route%rowtype;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a write of business % in a % transaction would not see that it has moved',
            p_business, current_setting('transaction_isolation') using errcode = 'LD003';
    end if;
    perform {keys}.refuse_other(p_business);
    perform pg_advisory_xact_lock_shared(19450, p_business);
    select * into r from {keys}.route where business = p_business;
    if not found or r.state <> 'active' then
        raise exception 'business % takes no writes on this shard (%)', p_business, coalesce(r.state, 'not placed here')
            using errcode = 'LD001', hint = 'route the write again: larder business list';
    end if;
    return r.epoch;
end $$;

-- Rows that people and commands write, one by one. Argument: the column whose bits name the business.
create function {keys}.refuse_other_row() returns trigger
    language plpgsql as $$
begin
    if tg_op <> 'DELETE' then
        perform {keys}.refuse_other({keys}.business_of((to_jsonb(new) ->> tg_argv[0])::bigint));
    end if;
    if tg_op <> 'INSERT' then
        perform {keys}.refuse_other({keys}.business_of((to_jsonb(old) ->> tg_argv[0])::bigint));
    end if;
    return null;
end $$;

do $$
declare
    written record;
begin
    for written in
        select * from (values
            ('source', 'id'), ('location', 'id'), ('employee', 'id'), ('item', 'id'), ('location_setting', 'location_id'),
            ('location_map', 'location_id'), ('employee_map', 'employee_id'), ('item_map', 'item_id'),
            ('campaign_location_map', 'location_id')
        ) as tables (name, owner)
    loop
        execute format($ddl$
            create trigger pinned after insert or update or delete on {keys}.%1$I
                for each row when ({keys}.pinned_business() is not null)
                execute function {keys}.refuse_other_row(%2$L);
        $ddl$, written.name, written.owner);
    end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- The tree: source → sale → line, discount, payment, refund; the rest hangs from the source. Asked once a statement, not
-- by a foreign key: batches of a million keys are ordinary.
-- ---------------------------------------------------------------------------------------------------------------
create function {keys}.refuse_orphans() returns trigger
    language plpgsql as $$
declare
    stray record;
begin
    -- tg_argv[0]: whether the source may be the parent, of what belongs to no sale
    select n.id, n.parent_id into stray
    from new_rows as n
    left join {keys}.sale as sale on sale.id = n.parent_id
    where sale.id is null and not (tg_argv[0]::boolean and n.parent_id = n.source_id)
    limit 1;
    if found then
        raise exception '% % hangs from %, which is no sale', tg_table_name, stray.id, stray.parent_id
            using errcode = 'foreign_key_violation';
    end if;
    return null;
end $$;

create function {keys}.refuse_other_keys() returns trigger
    language plpgsql as $$
declare
    other int;
begin
    select {keys}.business_of(n.id) into other
    from new_rows as n
    where {keys}.business_of(n.id) <> {keys}.pinned_business()
    limit 1;
    if found then
        perform {keys}.refuse_other(other);
    end if;
    return null;
end $$;

-- What a business here still refers to stays. Rows of one that has left are leftovers, deleted table by table.
create function {keys}.refuse_to_orphan() returns trigger
    language plpgsql as $$
declare
    owner int;
    child text;
    left_alone bigint;
begin
    for owner in
        select distinct route.business
        from old_rows as o
        inner join {keys}.route as route on route.business = {keys}.business_of(o.id)
        where route.state in ('active', 'paused')
    loop
        perform pg_advisory_xact_lock(19450, owner);  -- whoever adds a child has passed the gate
        foreach child in array array['sale_item', 'discount', 'payment', 'refund'] loop
            execute format(
                'select c.id from {keys}.%I as c inner join old_rows as o on o.id = c.parent_id'
                || ' where c.id between $1 and $2 limit 1', child
            ) into left_alone using {keys}.first_id(owner), {keys}.last_id(owner);
            if left_alone is not null then
                raise exception '% % hangs from a sale that is deleted', child, left_alone
                    using errcode = 'foreign_key_violation';
            end if;
        end loop;
    end loop;
    return null;
end $$;

create function {keys}.refuse_new_parent() returns trigger
    language plpgsql as $$
begin
    raise exception '% % cannot hang from another thing: its id bears what it hangs from', tg_table_name, old.id
        using errcode = 'restrict_violation';
end $$;

do $$
declare
    entity text;
begin
    foreach entity in array array['sale_item', 'discount', 'payment', 'refund'] loop
        execute format($ddl$
            create trigger refuse_orphans after insert on {keys}.%1$I referencing new table as new_rows
                for each statement execute function {keys}.refuse_orphans(%2$L);
        $ddl$, entity, entity in ('payment', 'refund'));
    end loop;
    foreach entity in array array['source_location', 'source_employee', 'source_item', 'source_campaign', 'sale', 'shift',
                                  'ad_spend', 'review', 'mailing']
    loop
        execute format($ddl$
            alter table {keys}.%1$I add constraint %2$I check (parent_id = source_id) not valid;
        $ddl$, entity, entity || '_hangs_from_its_source');
    end loop;
    foreach entity in array array['source_location', 'source_employee', 'source_item', 'source_campaign', 'sale',
                                  'sale_item', 'payment', 'discount', 'refund', 'shift', 'ad_spend', 'review', 'mailing']
    loop
        execute format($ddl$
            create trigger pinned after insert on {keys}.%1$I referencing new table as new_rows
                for each statement when ({keys}.pinned_business() is not null)
                execute function {keys}.refuse_other_keys();
            create trigger refuse_new_parent before update of id, parent_id, source_id on {keys}.%1$I
                for each row when ((old.id, old.parent_id, old.source_id) is distinct from
                                   (new.id, new.parent_id, new.source_id))
                execute function {keys}.refuse_new_parent();
        $ddl$, entity);
    end loop;
    foreach entity in array array['location', 'employee', 'item'] loop
        execute format($ddl$
            alter table {keys}.%1$I add constraint %2$I
                check (parent_id = {keys}.first_id({keys}.business_of(id))) not valid;
        $ddl$, entity, entity || '_hangs_from_its_business');
    end loop;
    create trigger refuse_to_orphan after delete on {keys}.sale referencing old table as old_rows
        for each statement execute function {keys}.refuse_to_orphan();
end $$;
