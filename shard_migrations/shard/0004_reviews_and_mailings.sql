-- Ids of guests' reviews and of sent mailings, like those of every other entity (0001_baseline.sql).
do $$
declare
    entity text;
begin
    foreach entity in array array['review', 'mailing']
    loop
        execute format($ddl$
            create table {keys}.%1$I (
                id bigint primary key,
                parent_id bigint not null,
                source_id bigint not null references {keys}.source (id),
                natural_key text not null,
                constraint %2$I unique (source_id, natural_key),
                constraint %3$I check ({keys}.business_of(id) = {keys}.business_of(parent_id)
                                       and {keys}.business_of(id) = {keys}.business_of(source_id))
            );
            create trigger assign_id before insert on {keys}.%1$I
                for each row when (new.id is null) execute function {keys}.assign_id();
        $ddl$, entity, entity || '_natural_key', entity || '_one_business');
    end loop;
end $$;
