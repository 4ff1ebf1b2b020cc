-- The control database: who lives where, what was asked of whom, and the index of every block.
create schema if not exists control;

create table control.instances (
    instance text primary key,
    kind text not null check (kind in ('embedded', 'external')),
    host text not null,
    port int not null,
    username text not null,
    secret_ref text not null,           -- env:NAME or file:PATH; a password never stands here
    created_at timestamptz not null default now()
);

create table control.shards (
    shard text primary key check (shard ~ '^[a-z][a-z0-9_]{0,40}$'),
    instance text not null references control.instances (instance),
    database text not null,
    namespace text not null default '' check (namespace ~ '^([a-z][a-z0-9_]{0,20})?$'),
    state text not null default 'active' check (state in ('active', 'draining', 'retired')),
    created_at timestamptz not null default now(),
    unique (instance, database, namespace)
);

create table control.businesses (
    business int primary key check (business between 0 and 524287),
    name text not null unique check (name ~ '^[a-z][a-z0-9_]{0,40}$'),
    display_name text not null,
    shard text not null references control.shards (shard),
    epoch bigint not null default 1,
    first_weekday smallint not null default 1 check (first_weekday between 1 and 7),
    reporting_currency char(3) not null default 'USD',
    created_at timestamptz not null default now()
);

create table control.sources (
    source_id bigint primary key,       -- keys.make_id(business, n): the business is in its bits
    business int not null references control.businesses (business),
    integration text not null,
    name text not null,
    config jsonb not null default '{}', -- base_url, account and site ids; nothing secret
    secret_ref text,
    state text not null default 'active' check (state in ('active', 'paused')),
    created_at timestamptz not null default now(),
    unique (business, name)
);

create table control.cursors (
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    cursor jsonb not null,              -- {"value": …}: where the next window begins
    block_id uuid,                      -- the block that brought it here; null: an empty window
    due_at timestamptz,                 -- vendor's clock: when the stream is due again
    advanced_at timestamptz not null default clock_timestamp(),
    primary key (source_id, stream)
);

create table control.blocks (
    block_id uuid primary key,          -- uuid7: sorts by extraction time
    generation int not null default 1,
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    path text not null,                 -- of the manifest, within the block store
    manifest jsonb not null,
    observed_at timestamptz not null,
    records bigint not null,
    bytes bigint not null,
    loaded_at timestamptz,              -- a hint: the shard's ledger is the truth
    indexed_at timestamptz not null default clock_timestamp()
);
create index on control.blocks (source_id, stream, observed_at desc);
create index on control.blocks (source_id, stream) where loaded_at is null;

create table control.extraction_log (
    id bigint generated always as identity primary key,
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    window_from text,
    window_to text,
    outcome text not null check (outcome in ('block', 'empty', 'failed')),
    block_id uuid,
    records bigint not null default 0,
    requests int not null default 0,
    retries int not null default 0,
    error_class text,                   -- vendor | credentials | data | config | us
    message text
);
create index on control.extraction_log (source_id, stream, started_at desc);
