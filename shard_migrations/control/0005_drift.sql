-- What the records of a stream looked like so far, and what of it changed.

-- Fields of a stream's records with how often each had which type; ingestion/drift.py knows the form.
create table control.shapes (
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    shape jsonb not null,
    primary key (source_id, stream)
);

create table control.drift (
    id bigint generated always as identity primary key,
    source_id bigint not null references control.sources (source_id),
    stream text not null,
    field text not null,                -- path into the record; [] is any element of a list
    change text not null check (change in ('new', 'missing', 'retyped')),
    was text,                           -- types it had
    became text,                        -- types it has now; of a missing one, how many records still have it
    block_id uuid not null,             -- the first block that showed it
    observed_at timestamptz not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index on control.drift (source_id, stream);
