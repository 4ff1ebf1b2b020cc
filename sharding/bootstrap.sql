-- What a server's superuser does once, in the database `postgres`, so that nobody needs one afterwards: the role that
-- administers this server for Larder. Safe to repeat. docs/access.md has the same for servers that others run.
do $$
begin
    if not exists (select from pg_roles where rolname = 'larder_admin') then
        create role larder_admin;
    end if;
end $$;
alter role larder_admin createdb createrole nosuperuser;
grant pg_read_all_data, pg_read_all_stats, pg_signal_backend to larder_admin with admin option;
grant pg_read_all_settings to larder_admin;
grant set on parameter session_replication_role, temp_file_limit, deadlock_timeout to larder_admin with grant option;

-- Two groups are named in rights of template1, and roles that earlier versions made as the superuser are administered too.
do $$
declare
    one name;
begin
    foreach one in array array['larder_all_rows', 'larder_owner'] loop
        if not exists (select from pg_roles where rolname = one) then
            execute format('create role %I nologin', one);
        end if;
    end loop;
    for one in
        select rolname from pg_roles
        where rolname ~ '^(larder_(?!admin$)[a-z_]+|t_[0-9a-f]{16})$' and not rolsuper
    loop
        execute format('grant %I to larder_admin with admin option', one);
    end loop;
    for one in
        select datname from pg_database
        where datdba = current_user::regrole and datname not in ('postgres', 'template0', 'template1')
    loop
        execute format('alter database %I owner to larder_admin', one);
    end loop;
end $$;

-- A role that was let into one database can reach no other.
revoke connect, temporary on database postgres, template1 from public;
grant connect on database postgres to larder_admin with grant option;
