-- What became of a block beside its load: its copy in the object store, and why a load of it failed.

-- One row a block that an upload was tried of; a block without one waits for its first.
create table control.block_uploads (
    block_id uuid primary key references control.blocks (block_id) on delete cascade,
    attempts int not null default 0,
    tried_at timestamptz,
    next_try_at timestamptz,            -- null: at once
    error text,                         -- of the last attempt
    verified_at timestamptz             -- the copy was read back and has the manifest's hash
);
create index on control.block_uploads (block_id) where verified_at is null;

-- Blocks whose last load failed; the row goes away with the load that succeeds.
create table control.block_failures (
    block_id uuid primary key references control.blocks (block_id) on delete cascade,
    attempts int not null default 1,
    failed_at timestamptz not null default clock_timestamp(),
    turn text not null,
    cause text not null,
    next_command text not null
);
