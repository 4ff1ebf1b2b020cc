-- What was told of failures: one row a cause, who is affected, and the letters that are on their way.
create table control.notices (
    notice bigint generated always as identity primary key,
    fingerprint text not null,          -- of the cause, without ids, numbers, times and whom it affects
    step text not null,                 -- extract, load, shard, model, test, fresh, reconcile, run
    class text not null,
    subject text not null,              -- vendor, model, test or job
    cause text not null,                -- scrubbed: no credential and nothing of guests or employees
    command text not null,              -- what reproduces it
    run_id text,                        -- Dagster's, the last one that met it
    first_seen timestamptz not null default clock_timestamp(),
    last_seen timestamptz not null default clock_timestamp(),
    seen int not null default 1,        -- cycles that met it
    queued_at timestamptz,              -- its first letter was written
    told_at timestamptz,                -- and went out
    healed_at timestamptz,
    heal_queued_at timestamptz,
    heal_told_at timestamptz
);
create unique index on control.notices (fingerprint) where healed_at is null;
create index on control.notices (fingerprint, queued_at);

-- Whom a cause affects: a source and stream, a shard, a business, a job.
create table control.notice_affected (
    notice bigint not null references control.notices (notice) on delete cascade,
    who text not null,
    part text not null default '',      -- stream; '' where it is the whole
    source_id bigint,
    first_seen timestamptz not null default clock_timestamp(),
    last_seen timestamptz not null default clock_timestamp(),
    queued_at timestamptz,              -- it stands in a letter
    ended_at timestamptz,
    ended text check (ended in ('healed', 'another cause', 'paused', 'closed')),
    primary key (notice, who, part)
);
create index on control.notice_affected (who, part) where ended_at is null;

-- Letters, written once and sent until a server takes them.
create table control.notice_outbox (
    letter bigint generated always as identity primary key,
    notices bigint[] not null,
    healed boolean not null,
    channel text not null check (channel in ('mail', 'webhook')),
    business int references control.businesses (business) on delete cascade,  -- null: to those who run Larder
    recipients text[] not null default '{}',
    subject text not null,
    body text not null,
    message_id text not null,
    answers text,                       -- message id of the letter that this one follows
    written_at timestamptz not null default clock_timestamp(),
    attempts int not null default 0,
    next_try_at timestamptz not null default clock_timestamp(),
    error text,                         -- of the last attempt
    sent_at timestamptz
);
create index on control.notice_outbox (next_try_at) where sent_at is null;

-- Who of a business gets letters of its own sources, and of nobody else's.
create table control.notice_recipients (
    business int not null references control.businesses (business) on delete cascade,
    address text not null,
    primary key (business, address)
);
