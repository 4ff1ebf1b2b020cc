-- A block that is being written. The row is there before the block's file and goes away in the transaction that indexes
-- the block and moves the cursor: after a kill in between, the next extract adopts the block if its manifest was written
-- and removes the leftover file if not, so no record is lost or extracted twice.
create table control.block_intents (
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    block_id uuid not null,
    data_path text not null,            -- within the block store
    manifest_path text not null,
    started_at timestamptz not null default clock_timestamp(),
    primary key (source_id, stream)
);
