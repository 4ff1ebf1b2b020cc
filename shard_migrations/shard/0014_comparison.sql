-- With which day or week of the past a business compares one, where that is not the one 364 days earlier: a holiday that
-- moves, a year of 53 weeks (371 days). A day's own row goes before that of its week.
create table {keys}.comparison (
    business_id bigint not null check ({keys}.business_of(business_id) >= 0),
    period text not null check (period in ('day', 'week')),
    begins_on date not null,
    compared_with date not null check (compared_with < begins_on),
    reason text not null,
    decided_by text not null,
    decided_at timestamptz not null default now(),
    primary key (business_id, period, begins_on)
);

create table {keys}.feed__comparison as
select business_id, period, begins_on, compared_with from {keys}.comparison limit 0;
alter table {keys}.feed__comparison add column xid xid8 not null default pg_current_xact_id();
create index on {keys}.feed__comparison (xid);
create trigger publish_insert after insert on {keys}.comparison referencing new table as new_rows
    for each statement execute function {keys}.publish_change();
create trigger publish_update after update on {keys}.comparison referencing old table as old_rows new table as new_rows
    for each statement execute function {keys}.publish_change();
create trigger publish_delete after delete on {keys}.comparison referencing old table as old_rows
    for each statement execute function {keys}.publish_change();
