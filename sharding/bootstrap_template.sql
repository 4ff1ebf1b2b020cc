-- In template1, of which every database of this server is made: what lets one user of a database hinder or fill it for
-- all belongs to Larder's own parts. As {keys}.arrange_access() does it where the administrator is a superuser.
do $$
declare
    one record;
begin
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
end $$;
