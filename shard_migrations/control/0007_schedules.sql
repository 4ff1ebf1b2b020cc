-- When a source is asked again after failures, which vendors are left alone, and who stopped a source and why.
alter table control.sources add column paused_by text;
alter table control.sources add column paused_at timestamptz;
alter table control.sources add column paused_reason text;

-- Failures in a row of a stream, or ('') of a whole source; gone with the next success. Times by the vendors' clock.
create table control.backoff (
    source_id bigint not null references control.sources (source_id) on delete cascade,
    stream text not null,
    failures int not null,
    turn text not null,
    cause text not null,
    failed_at timestamptz not null,
    next_try_at timestamptz not null,
    primary key (source_id, stream)
);

-- Vendors that failed many sources, one after the other: nobody asks them until `probe_at`, then one source does.
create table control.breakers (
    integration text primary key,
    opened_at timestamptz not null,
    trips int not null,                 -- in a row: each makes the wait longer
    probe_at timestamptz not null,
    cause text not null
);
