-- The shard, as dbt and the loader find it: ids, conformed maps, the raw ledger and its change feed.
-- `{keys}`, `{raw}`, … are replaced by the schema names of the shard's namespace (sharding/catalogue.py: Shard.schemas).

create schema if not exists {keys};
create schema if not exists {raw};
create schema if not exists {staging};
create schema if not exists {intermediate};
create schema if not exists {marts};
create schema if not exists {bi};

-- ---------------------------------------------------------------------------------------------------------------
-- Ids: 19 most significant bits business, 45 bits a per-business number. bigint is signed: businesses from 2^18 up
-- give negative ids, hence the mask in business_of. The Python twin is sharding/ids.py.
-- ---------------------------------------------------------------------------------------------------------------
create function {keys}.make_id(business int, n bigint) returns bigint
    language sql immutable strict parallel safe
    return (business::bigint << 45) | n;

create function {keys}.business_of(id bigint) returns int
    language sql immutable strict parallel safe
    return ((id >> 45) & 524287)::int;

-- The half-open range [lo, hi) cannot be written for the last business (2^63 overflows), so the upper end is included.
create function {keys}.first_id(business int) returns bigint
    language sql immutable strict parallel safe
    return (business::bigint << 45);

create function {keys}.last_id(business int) returns bigint
    language sql immutable strict parallel safe
    return (business::bigint << 45) | 35184372088831;

create table {keys}.counter (
    business int primary key check (business between 0 and 524287),
    next bigint not null default 1 check (next between 1 and 35184372088832)
);

-- Reserve `how_many` consecutive numbers of a business; returns the first id. The row lock orders concurrent callers.
create function {keys}.reserve(p_business int, how_many bigint) returns bigint
    language plpgsql as $$
declare
    first_number bigint;
begin
    if how_many < 1 then
        raise exception 'cannot reserve % numbers', how_many using errcode = 'invalid_parameter_value';
    end if;
    insert into {keys}.counter as c (business, next) values (p_business, 1 + how_many)
    on conflict (business) do update set next = c.next + how_many
    returning next - how_many into first_number;
    return {keys}.make_id(p_business, first_number);
end $$;

-- Which businesses live here, and whether writes are open. The write gate is the first statement of a write transaction.
create table {keys}.route (
    business int primary key check (business between 0 and 524287),
    name text not null,
    display_name text not null,
    state text not null default 'active' check (state in ('active', 'paused', 'out')),
    epoch bigint not null default 1,
    first_weekday smallint not null default 1 check (first_weekday between 1 and 7),  -- ISO: 1 = Monday
    reporting_currency char(3) not null default 'USD'
);

create function {keys}.write_gate(p_business int) returns bigint
    language plpgsql as $$
declare
    r {keys}.route%rowtype;
begin
    perform pg_advisory_xact_lock_shared(19450, p_business);
    select * into r from {keys}.route where business = p_business;
    if not found or r.state <> 'active' then
        raise exception 'business % takes no writes on this shard (%)', p_business, coalesce(r.state, 'not placed here')
            using errcode = 'LD001', hint = 'route the write again: larder business list';
    end if;
    return r.epoch;
end $$;

-- ---------------------------------------------------------------------------------------------------------------
-- Key tables: natural key → id. They outlive every dbt table. `id` may be left out for single rows: the trigger takes
-- the business from the *bits* of the parent id and draws a number; batches reserve a range and insert set-based.
-- ---------------------------------------------------------------------------------------------------------------
create function {keys}.assign_id() returns trigger
    language plpgsql as $$
begin
    new.id := {keys}.reserve({keys}.business_of(new.parent_id), 1);
    return new;
end $$;

-- The root: one business's connection to one integration.
create table {keys}.source (
    id bigint primary key,
    integration text not null,
    name text not null,
    config jsonb not null default '{}'
);
create unique index source_name_once_a_business on {keys}.source ({keys}.business_of(id), name);

-- One key table per entity. `parent_id` supplies the business bits: the source for a vendor's things, the sale for what
-- hangs from a sale. Unique on (source_id, natural_key).
do $$
declare
    entity text;
begin
    foreach entity in array array['source_location', 'source_employee', 'source_item', 'source_campaign',
                                  'sale', 'sale_item', 'payment', 'discount', 'refund', 'shift', 'ad_spend']
    loop
        execute format($ddl$
            create table {keys}.%1$I (
                id bigint primary key,
                parent_id bigint not null,
                source_id bigint not null references {keys}.source (id),
                natural_key text not null,
                constraint %2$I unique (source_id, natural_key),
                constraint %3$I check ({keys}.business_of(id) = {keys}.business_of(parent_id)
                                       and {keys}.business_of(id) = {keys}.business_of(source_id))
            );
            create trigger assign_id before insert on {keys}.%1$I
                for each row when (new.id is null) execute function {keys}.assign_id();
        $ddl$, entity, entity || '_natural_key', entity || '_one_business');
    end loop;
end $$;

-- Conformed things hang from the business. Their parent is the business itself: parent_id = make_id(business, 0).
create table {keys}.location (
    id bigint primary key,
    parent_id bigint not null,
    name text not null,
    constraint location_one_business check ({keys}.business_of(id) = {keys}.business_of(parent_id))
);
create table {keys}.employee (like {keys}.location including all);
create table {keys}.item (like {keys}.location including all);

do $$
declare
    entity text;
begin
    foreach entity in array array['location', 'employee', 'item'] loop
        execute format($ddl$
            create trigger assign_id before insert on {keys}.%1$I
                for each row when (new.id is null) execute function {keys}.assign_id();
            -- Dated, editable map from a vendor's thing to the business's own. [valid_from, valid_to) on business dates.
            create table {keys}.%2$I (
                %3$I bigint not null references {keys}.%4$I (id) on delete cascade,
                %5$I bigint not null references {keys}.%1$I (id),
                valid_from date not null default '-infinity',
                valid_to date not null default 'infinity' check (valid_to > valid_from),
                rule text not null check (rule in ('itself', 'vendor_id', 'sku', 'payroll_id', 'email', 'approved')),
                confidence numeric(3, 2) not null default 1 check (confidence between 0 and 1),
                decided_by text not null,
                decided_at timestamptz not null default now(),
                primary key (%3$I, valid_from),
                constraint %6$I check ({keys}.business_of(%3$I) = {keys}.business_of(%5$I))
            );
            create index on {keys}.%2$I (%5$I);
        $ddl$, entity, entity || '_map', 'source_' || entity || '_id', 'source_' || entity, entity || '_id',
               entity || '_map_one_business');
    end loop;
end $$;

-- What a location's numbers depend on besides its receipts; dated, by business date. Rows are seeded from the vendor
-- (decided_by = 'vendor') and overruled by a person (larder map set-location … --timezone …).
create table {keys}.location_setting (
    location_id bigint not null references {keys}.location (id) on delete cascade,
    valid_from date not null default '-infinity',
    valid_to date not null default 'infinity' check (valid_to > valid_from),
    timezone text not null,
    day_start interval not null default '4 hours' check (day_start >= '0' and day_start < '24 hours'),
    overtime_weekly_hours numeric(6, 2) not null default 40,
    overtime_multiplier numeric(4, 2) not null default 1.5,
    decided_by text not null,
    decided_at timestamptz not null default now(),
    primary key (location_id, valid_from)
);

-- What a person changed in the maps or settings, stamped with the writing transaction: builds look for it like for the
-- feed. What a build itself assigns is not here, or each build would ask for the next one.
create table {keys}.change (
    xid xid8 not null default pg_current_xact_id(),
    what text not null,                     -- location_map, employee_map, item_map, location_setting, …
    key text not null,
    changed_at timestamptz not null default clock_timestamp()
);
create index on {keys}.change (xid);

-- ---------------------------------------------------------------------------------------------------------------
-- Raw: ledger, heads, quarantine, complete windows, change feed. Stream tables are made by raw.ensure_stream.
-- ---------------------------------------------------------------------------------------------------------------
create table {raw}.loaded_blocks (
    block_id uuid not null,
    generation int not null default 1,
    source_id bigint not null references {keys}.source (id),
    stream text not null,
    observed_at timestamptz not null,
    records bigint not null,
    versions bigint not null,      -- became a new version of their key
    unchanged bigint not null,     -- equal to the head: only its position advanced
    superseded bigint not null,    -- older than the head, or than another record of the same publish
    quarantined bigint not null,
    discarded bigint not null default 0,  -- quarantined, then given up by a person, with a reason
    tombstones bigint not null default 0, -- keys found absent from the completely read window; not block records
    loaded_at timestamptz not null default clock_timestamp(),
    xid xid8 not null default pg_current_xact_id(),
    primary key (block_id, generation),
    constraint every_record_is_accounted_for
        check (records = versions + unchanged + superseded + quarantined + discarded)
);
create index on {raw}.loaded_blocks (source_id, stream, observed_at desc);

-- One row per natural key: which version is current, and its position in the stream's total order
-- (modified_at, observed_at, block_id, ordinal, generation). Where the vendor gives no modified time, modified_at is
-- -infinity. The position is that of the last record that confirmed the version; the version's own row tells its first.
-- No foreign key to keys.source: the ledger row of the same transaction has one, and 50,000 checks cost 0.3 CPU-s.
create table {raw}.head (
    source_id bigint not null,
    stream text not null,
    natural_key text not null,
    version_id bigint not null,
    hash uuid not null,
    modified_at timestamptz not null,
    observed_at timestamptz not null,
    block_id uuid not null,
    ordinal bigint not null,
    generation int not null,
    last_seen_at timestamptz not null,  -- latest observation of the key in any block, also of an older version
    window_at timestamptz,              -- where the record lies in the stream's windows, if they are read completely
    is_deleted boolean not null default false,
    primary key (source_id, stream, natural_key)
) with (fillfactor = 80);

-- Windows that were read completely: a key inside one that was last seen before it is gone at the vendor.
create table {raw}.complete_window (
    source_id bigint not null references {keys}.source (id),
    stream text not null,
    window_from timestamptz,  -- null: the whole stream (a snapshot); a date is its midnight in UTC
    window_to timestamptz,    -- exclusive
    observed_at timestamptz not null,
    block_id uuid not null,
    primary key (source_id, stream, observed_at, block_id)
);

create table {raw}.quarantine (
    quarantine_id bigint primary key,
    block_id uuid not null,
    generation int not null,
    ordinal bigint not null,
    source_id bigint not null references {keys}.source (id),
    stream text not null,
    observed_at timestamptz not null,
    natural_key text,                  -- where it could be read: the key was seen, so it is not taken for deleted
    reason text not null,              -- class: no_key, not_jsonb, modified_in_future, unknown_currency, …
    detail text not null,              -- a sentence for a person
    payload_text text,                 -- as received, escaped where Postgres text cannot hold it
    business_date date,
    state text not null default 'open' check (state in ('open', 'resolved', 'discarded')),
    decided_reason text,
    decided_at timestamptz,
    quarantined_at timestamptz not null default clock_timestamp(),
    unique (block_id, generation, ordinal)
);
create index on {raw}.quarantine (source_id, stream, natural_key);

-- Keys whose current row really changed, stamped with the writing transaction, read by snapshot difference.
create table {raw}.feed (
    xid xid8 not null default pg_current_xact_id(),
    integration text not null,
    stream text not null,
    source_id bigint not null,
    natural_key text not null,
    operation char(1) not null check (operation in ('I', 'U', 'D')),
    version_id bigint not null,
    block_id uuid,
    published_at timestamptz not null default clock_timestamp()
);
create index on {raw}.feed (xid);
create index on {raw}.feed (source_id, stream, natural_key);

-- Up to which snapshot of the feed the models of this shard were last built without an error, and from which code.
create table {raw}.build_mark (
    scope text primary key,                 -- 'models': the whole project; a build of a selection marks nothing
    seen pg_snapshot not null,              -- taken before the build read anything
    system_identifier bigint not null,      -- of the cluster that gave the snapshot: on another one it means nothing
    code text not null,                     -- fingerprint of models, macros, seeds and tests
    as_of timestamptz not null,             -- the vendors' clock then: open punches and calendars move with the day
    built_at timestamptz not null default clock_timestamp()
);

-- raw_<integration>.<stream>: every version of every record, as the vendor sent it; and <stream>_current over it.
create function {raw}.ensure_stream(p_integration text, p_stream text) returns void
    language plpgsql as $$
declare
    s text := '{raw}' || '_' || p_integration;
begin
    if to_regclass(format('%I.%I', s, p_stream || '_current')) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended(s || '.' || p_stream, 0));
    execute format($ddl$
        create schema if not exists %1$I;
        create table if not exists %1$I.%2$I (
            version_id bigint primary key,
            source_id bigint not null,
            natural_key text not null,
            operation char(1) not null check (operation in ('U', 'D')),
            modified_at timestamptz not null,
            observed_at timestamptz not null,
            block_id uuid,
            generation int not null,
            ordinal bigint not null,
            hash uuid not null,
            payload jsonb not null,
            xid xid8 not null default pg_current_xact_id()
        );
        create index if not exists %3$I on %1$I.%2$I (source_id, natural_key);
        create or replace view %1$I.%4$I as
            select v.*
            from {raw}.head as h
            inner join %1$I.%2$I as v using (version_id)
            where h.stream = %5$L and not h.is_deleted;
    $ddl$, s, p_stream, p_stream || '_source_key', p_stream || '_current', p_stream);
end $$;
