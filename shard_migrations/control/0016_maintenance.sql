-- Maintenance of shards: when each is quiet, what was done, how long blocks are kept and which were given up.

create table control.quiet_hours (
    shard text primary key references control.shards (shard) on delete cascade,
    minute int not null check (minute between 0 and 1439),      -- of the UTC day
    because text not null,
    found_at timestamptz not null default clock_timestamp()
);

create table control.maintenance_runs (
    run_id bigint generated always as identity primary key,
    shard text not null,                    -- or 'control'
    work text not null check (work in ('upkeep', 'backup', 'restore test', 'retention')),
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    good boolean,                           -- null: it runs, or was killed
    detail jsonb not null default '{}'
);
create index on control.maintenance_runs (shard, work, started_at desc);

-- No row: the blocks of the business are kept for ever.
create table control.block_retention (
    business int primary key references control.businesses (business),
    keep_days int not null check (keep_days > 0),
    decided_by text not null,
    decided_at timestamptz not null default clock_timestamp()
);

-- Blocks that nothing needed any more. Their files go after the row is here; `removed_at` null: not yet.
create table control.retired_blocks (
    block_id uuid primary key,
    source_id bigint not null,
    stream text not null,
    manifest jsonb not null,
    reason text not null,
    retired_at timestamptz not null default clock_timestamp(),
    removed_at timestamptz
);
create index on control.retired_blocks (source_id, stream);
