-- Moves of businesses between shards: one row each, and a journal of what became of it.
create table control.moves (
    move_id bigint generated always as identity primary key,
    business int not null references control.businesses (business),
    from_shard text not null references control.shards (shard),
    to_shard text not null references control.shards (shard),
    state text not null default 'planned' check (state in (
        'planned', 'copying', 'catching_up', 'ready', 'flipping', 'flipped', 'done', 'rolled_back', 'aborted'
    )),
    epoch bigint not null,              -- of the business when the move began
    started_at timestamptz not null default clock_timestamp(),
    flipped_at timestamptz,
    keep_until timestamptz,             -- until then the way back is kept
    finished_at timestamptz,
    error text,
    check (from_shard <> to_shard)
);
-- A business is on one way at a time; `flipped` keeps the way back until it is done.
create unique index one_move_a_business on control.moves (business)
    where state not in ('done', 'rolled_back', 'aborted');

create table control.move_journal (
    move_id bigint not null references control.moves (move_id),
    at timestamptz not null default clock_timestamp(),
    step text not null,
    detail jsonb not null default '{}'
);
create index on control.move_journal (move_id, at);
