-- How fresh data have to be, what was done since ever, and how shards and their readers were when last looked at.

-- How old data may be. The most special one counts: of a source, of a business's kind, of a business, of a kind, of all.
create table control.objectives (
    kind text check (kind in ('pos', 'labour', 'marketing', 'any')),    -- of integration; null: every kind
    business int references control.businesses (business) on delete cascade,
    source_id bigint references control.sources (source_id) on delete cascade,
    within interval not null check (within > interval '0'),
    set_by text not null,
    set_at timestamptz not null default clock_timestamp(),
    unique nulls not distinct (kind, business, source_id),
    check (source_id is null or (kind is null and business is null))
);

-- Totals that only grow: of an integration or a shard (`label`), by outcome or cause (`what`). They are written in the
-- transaction of what they count; in slots, so that many writers do not wait for one row.
create table control.counters (
    metric text not null,
    label text not null,
    what text not null default '',
    slot smallint not null default pg_backend_pid() % 8,
    value double precision not null,
    primary key (metric, label, what, slot)
);

-- A shard's part of the last cycle that reached it.
create table control.shard_cycles (
    shard text primary key references control.shards (shard) on delete cascade,
    state text not null check (state in ('built', 'skipped', 'failed')),
    reason text not null,
    seconds double precision not null,  -- from the cycle's beginning to the shard's end
    ended_at timestamptz not null default clock_timestamp(),
    behind_since timestamptz            -- vendors' clock: since then what was loaded is not in the models; null: it is
);

-- How a shard was when it was last looked at.
create table control.shard_samples (
    shard text primary key references control.shards (shard) on delete cascade,
    sampled_at timestamptz not null default clock_timestamp(),
    error text,                         -- why it did not answer; null: it did
    milliseconds double precision,      -- that it took to answer
    quarantined jsonb not null default '{}',  -- open records: {integration: how many}
    statements text                     -- why there are no statistics of its statements; null: there are
);

-- What readers asked of a shard since its statistics began (pg_stat_statements), sample by sample.
create table control.reader_samples (
    shard text not null references control.shards (shard) on delete cascade,
    reader text not null,               -- the role
    business int references control.businesses (business) on delete cascade,  -- whose role it is; null: not one's
    sampled_at timestamptz not null default clock_timestamp(),
    calls bigint not null,
    total_ms double precision not null,
    max_ms double precision not null,
    primary key (shard, reader, sampled_at)
);
