-- Runs of migrations over all shards, and businesses that were erased.

-- One run brings every shard to one set of files. It stays open until all have them: run again, it goes on.
create table control.migration_runs (
    run_id bigint generated always as identity primary key,
    files text not null,                -- hash of all shard migrations of the checkout that began it
    canary text,                        -- the shard that went first
    canary_good_at timestamptz,         -- it was migrated, and found healthy afterwards
    state text not null default 'open' check (state in ('open', 'done', 'superseded')),
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);
create unique index one_run_of_migrations on control.migration_runs ((true)) where state = 'open';

create table control.migration_shards (
    run_id bigint not null references control.migration_runs (run_id),
    shard text not null,
    state text not null check (state in ('migrated', 'locked', 'failed', 'unreachable')),
    revisions text[] not null default '{}',  -- applied by this try
    seconds numeric not null,
    error text,
    at timestamptz not null default clock_timestamp(),
    primary key (run_id, shard, at)
);

-- What is left of a business that was erased: its number, which nobody gets again, and what was removed.
create table control.erasures (
    business int primary key,
    name text not null,
    state text not null default 'begun' check (state in ('begun', 'done')),
    removed jsonb not null default '{}',
    begun_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);
