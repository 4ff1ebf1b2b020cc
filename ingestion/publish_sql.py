"""The statements of a publish, in the order in which `publish` runs them."""

TEMPORARY = """
create temporary table if not exists publish_block (
    block_no int primary key,
    block_id uuid not null,
    generation int not null,
    source_id bigint not null,
    integration text not null,
    stream text collate "C" not null,
    observed_at timestamptz not null,
    tracks_absence boolean not null,  -- the stream has windows that are read completely
    is_complete boolean not null,     -- this block is one
    window_from timestamptz,
    window_to timestamptz,
    records bigint not null,
    landed bigint not null,
    rejected bigint not null,
    is_retry boolean not null
) on commit delete rows;
create temporary table if not exists publish_row (
    block_no int not null,
    ordinal bigint not null,
    source_id bigint not null,
    stream text collate "C" not null,
    natural_key text collate "C",
    modified_at timestamptz not null,
    observed_at timestamptz not null,
    block_id uuid not null,
    generation int not null,
    window_at timestamptz,
    hash uuid,
    is_rejected boolean not null
) on commit delete rows;
create temporary table if not exists publish_key (
    source_id bigint not null,
    integration text not null,
    stream text collate "C" not null,
    natural_key text collate "C" not null,
    block_no int,           -- null: no record of this publish, only its visibility may change
    ordinal bigint,
    outcome text not null,  -- version | unchanged | superseded | seen
    spare_id bigint,        -- for a new version
    version_id bigint not null,
    hash uuid not null,
    modified_at timestamptz not null,
    observed_at timestamptz not null,
    block_id uuid not null,
    position_ordinal bigint not null,
    generation int not null,
    last_seen_at timestamptz not null,
    window_at timestamptz,
    is_new boolean not null,
    was_visible boolean not null,
    is_visible boolean not null
) on commit delete rows;
create temporary table if not exists publish_count (
    block_id uuid, generation int, source_id bigint, integration text, stream text, records bigint, versions bigint,
    unchanged bigint, superseded bigint, quarantined bigint, tombstones bigint
) on commit delete rows
"""

FORGET_ALREADY_LOADED = """
delete from publish_block as b using {raw}.loaded_blocks as l
where l.block_id = b.block_id and l.generation = b.generation and not b.is_retry
returning b.block_id
"""

READ_LANDING = """
insert into publish_row
select
    b.block_no, l.ordinal, b.source_id, b.stream, l.natural_key, coalesce(l.modified_at, '-infinity'), b.observed_at,
    b.block_id, b.generation, l.window_at, l.hash, l.reason is not null
from {landing} as l
inner join publish_block as b using (block_no)
where l.attempt = %s
"""

COUNT_MISSING = """
select b.block_id, coalesce(r.found, 0), b.landed
from publish_block as b
left join (
    select block_no, count(*) as found, count(*) filter (where is_rejected) as rejected from publish_row group by 1
) as r using (block_no)
where coalesce(r.found, 0) <> b.landed or coalesce(r.rejected, 0) <> b.rejected
"""

# Of a retry, records that a person or another retry has decided meanwhile.
FORGET_DECIDED = """
delete from publish_row as r using publish_block as b
where b.block_no = r.block_no and b.is_retry and not exists (
    select from {raw}.quarantine as q
    where q.block_id = r.block_id and q.generation = r.generation and q.ordinal = r.ordinal and q.state = 'open'
)
"""

QUARANTINE = """
insert into {raw}.quarantine (
    quarantine_id, block_id, generation, ordinal, source_id, stream, modified_at, observed_at, natural_key, reason,
    detail, payload_text
)
select
    %(first_id)s + row_number() over (order by r.block_no, r.ordinal) - 1, r.block_id, r.generation, r.ordinal,
    r.source_id, r.stream, l.modified_at, r.observed_at, r.natural_key, l.reason, l.detail, l.payload_text
from publish_row as r
inner join publish_block as b on b.block_no = r.block_no and not b.is_retry
inner join {landing} as l on l.block_no = r.block_no and l.ordinal = r.ordinal and l.attempt = %(attempt)s
where r.is_rejected
"""

QUARANTINE_AGAIN = """
update {raw}.quarantine as q
set reason = l.reason, detail = l.detail, natural_key = l.natural_key, modified_at = l.modified_at
from publish_row as r
inner join publish_block as b on b.block_no = r.block_no and b.is_retry
inner join {landing} as l on l.block_no = r.block_no and l.ordinal = r.ordinal and l.attempt = %s
where r.is_rejected and q.block_id = r.block_id and q.generation = r.generation and q.ordinal = r.ordinal
"""

RESOLVE = """
update {raw}.quarantine as q
set state = 'resolved', decided_reason = 'retried and accepted', decided_at = clock_timestamp(),
    natural_key = r.natural_key
from publish_row as r
inner join publish_block as b on b.block_no = r.block_no and b.is_retry
where not r.is_rejected and q.block_id = r.block_id and q.generation = r.generation and q.ordinal = r.ordinal
"""

# A window with a record that hides its key proves no absence: it may be any key's.
COMPLETE_WINDOWS = """
insert into {raw}.complete_window (source_id, stream, window_from, window_to, observed_at, block_id)
select b.source_id, b.stream, b.window_from, b.window_to, b.observed_at, b.block_id
from publish_block as b
where b.is_complete and not exists (
    select from {raw}.quarantine as q
    where q.block_id = b.block_id and q.generation = b.generation and q.natural_key is null
)
on conflict do nothing
"""

# The newest record of each key beside the key's head.
TOUCH_KEYS = """
insert into publish_key
with newest as (
    select distinct on (source_id, stream, natural_key)
        *, max(observed_at) over (partition by source_id, stream, natural_key) as seen_at
    from publish_row
    where not is_rejected
    order by
        source_id, stream, natural_key,
        modified_at desc, observed_at desc, block_id desc, ordinal desc, generation desc
),

compared as (
    select
        n.*,
        %(first_id)s + row_number() over (order by n.block_no, n.ordinal) - 1 as spare_id,
        b.integration,
        h.version_id as head_version,
        h.source_id is null as is_new,
        h.is_deleted,
        h.hash = n.hash as is_equal,
        coalesce(
            (n.modified_at, n.observed_at, n.block_id, n.ordinal, n.generation)
            > (h.modified_at, h.observed_at, h.block_id, h.ordinal, h.generation),
            true
        ) as is_newer,
        h.hash as head_hash, h.modified_at as head_modified_at, h.observed_at as head_observed_at,
        h.block_id as head_block_id, h.ordinal as head_ordinal, h.generation as head_generation,
        h.window_at as head_window_at,
        greatest(
            n.seen_at, h.last_seen_at,
            case when b.tracks_absence then (
                select max(q.observed_at) from {raw}.quarantine as q
                where q.source_id = n.source_id and q.stream = n.stream and q.natural_key = n.natural_key
            ) end
        ) as last_seen_at
    from newest as n
    inner join publish_block as b using (block_no)
    left join {raw}.head as h
        on h.source_id = n.source_id and h.stream = n.stream and h.natural_key = n.natural_key
)

select
    source_id, integration, stream, natural_key, block_no, ordinal,
    case
        when is_new then 'version' when not is_newer then 'superseded' when is_equal then 'unchanged' else 'version'
    end,
    spare_id,
    case when is_new or (is_newer and not is_equal) then spare_id else head_version end,
    case when is_newer then hash else head_hash end,
    case when is_newer then modified_at else head_modified_at end,
    case when is_newer then observed_at else head_observed_at end,
    case when is_newer then block_id else head_block_id end,
    case when is_newer then ordinal else head_ordinal end,
    case when is_newer then generation else head_generation end,
    last_seen_at,
    case when is_newer then window_at else head_window_at end,
    is_new,
    not is_new and not is_deleted,
    true
from compared
"""

# Keys without a record in this publish, whose visibility it may change: covered by a new window, or seen in quarantine.
TOUCH_UNSEEN_KEYS = """
insert into publish_key
select
    h.source_id, s.integration, h.stream, h.natural_key, null, null, 'seen', null, h.version_id, h.hash, h.modified_at,
    h.observed_at, h.block_id, h.ordinal, h.generation,
    greatest(h.last_seen_at, q.seen_at),
    h.window_at, false, not h.is_deleted, true
from (select distinct source_id, integration, stream from publish_block where tracks_absence) as s
inner join {raw}.head as h on h.source_id = s.source_id and h.stream = s.stream
left join (
    select source_id, stream, natural_key, max(observed_at) as seen_at
    from publish_row where is_rejected and natural_key is not null group by 1, 2, 3
) as q on q.source_id = h.source_id and q.stream = h.stream and q.natural_key = h.natural_key
where
    not exists (
        select from publish_key as k
        where k.source_id = h.source_id and k.stream = h.stream and k.natural_key = h.natural_key
    )
    and (
        q.seen_at > h.last_seen_at
        or (
            not h.is_deleted
            and exists (
                select from publish_block as w
                where w.is_complete and w.source_id = h.source_id and w.stream = h.stream
                    and w.observed_at > h.last_seen_at
            )
        )
    )
"""

JUDGE_ABSENCE = """
update publish_key as k
set is_visible = judged.is_visible,
    -- A record that came back is a new version, even if equal: history would end with its deletion otherwise.
    outcome = case when judged.came_back then 'version' else k.outcome end,
    version_id = case when judged.came_back then k.spare_id else k.version_id end
from (
    select *, is_visible and not was_visible and outcome = 'unchanged' as came_back
    from (
        select
            k.source_id, k.stream, k.natural_key, k.was_visible, k.outcome,
            not exists (
                select from {raw}.complete_window as w
                where w.source_id = k.source_id and w.stream = k.stream and w.observed_at > k.last_seen_at
                    and (w.window_from is null or (k.window_at >= w.window_from and k.window_at < w.window_to))
            ) as is_visible
        from publish_key as k
        inner join (select distinct source_id, stream from publish_block where tracks_absence) as s
            using (source_id, stream)
    ) as covered
) as judged
where judged.source_id = k.source_id and judged.stream = k.stream and judged.natural_key = k.natural_key
"""

VERSIONS = """
insert into {table} (
    version_id, source_id, natural_key, operation, modified_at, observed_at, block_id, generation, ordinal, hash,
    payload
)
select
    k.version_id, k.source_id, k.natural_key, 'U', k.modified_at, k.observed_at, k.block_id, k.generation, k.ordinal,
    k.hash, l.payload
from {landing} as l
inner join publish_key as k on k.block_no = l.block_no and k.ordinal = l.ordinal
where l.attempt = %s and k.integration = %s and k.stream = %s and k.outcome = 'version'
order by k.version_id
"""

# Both directions: whoever looks for what belongs together starts at either end.
LINKS = """
insert into {raw}.link (source_id, key, linked_key)
select distinct found.source_id, pair.key, pair.linked_key
from (
    select k.source_id, k.natural_key, target.value #>> '{}' as named
    from publish_key as k
    inner join {table} as v on v.version_id = k.version_id
    cross join unnest(%s::text[]) as link (path)
    cross join lateral jsonb_path_query(v.payload, link.path::jsonpath) as target (value)
    where k.integration = %s and k.stream = %s and k.outcome = 'version'
) as found
cross join lateral (
    values (found.natural_key, found.named), (found.named, found.natural_key)
) as pair (key, linked_key)
where found.named <> '' and found.named <> found.natural_key
on conflict do nothing
"""

# The payload of a deletion is the record's last one, at the position of the earliest window that missed it.
DELETIONS = """
insert into {table} (
    version_id, source_id, natural_key, operation, modified_at, observed_at, block_id, generation, ordinal, hash,
    payload
)
select
    %(first_id)s + row_number() over (order by k.source_id, k.natural_key) - 1, k.source_id, k.natural_key, 'D',
    v.modified_at, w.observed_at, w.block_id, 1, 0, v.hash, v.payload
from publish_key as k
inner join {table} as v on v.version_id = k.version_id
cross join lateral (
    select w.observed_at, w.block_id from {raw}.complete_window as w
    where w.source_id = k.source_id and w.stream = k.stream and w.observed_at > k.last_seen_at
        and (w.window_from is null or (k.window_at >= w.window_from and k.window_at < w.window_to))
    order by w.observed_at, w.block_id
    limit 1
) as w
where k.integration = %(integration)s and k.stream = %(stream)s and k.was_visible and not k.is_visible
"""

UPDATE_HEADS = """
update {raw}.head as h
set version_id = k.version_id, hash = k.hash, modified_at = k.modified_at, observed_at = k.observed_at,
    block_id = k.block_id, ordinal = k.position_ordinal, generation = k.generation, last_seen_at = k.last_seen_at,
    window_at = k.window_at, is_deleted = not k.is_visible
from publish_key as k
where not k.is_new and h.source_id = k.source_id and h.stream = k.stream and h.natural_key = k.natural_key
    and (
        k.outcome in ('version', 'unchanged')
        or h.last_seen_at <> k.last_seen_at
        or h.is_deleted = k.is_visible
    )
"""

INSERT_HEADS = """
insert into {raw}.head (
    source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id, ordinal, generation,
    last_seen_at, window_at, is_deleted
)
select
    source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id, position_ordinal, generation,
    last_seen_at, window_at, not is_visible
from publish_key
where is_new
"""

FEED = """
insert into {raw}.feed (integration, stream, source_id, natural_key, operation, version_id, block_id)
select
    integration, stream, source_id, natural_key,
    case when not was_visible then 'I' when is_visible then 'U' else 'D' end,
    version_id, block_id
from publish_key
where was_visible <> is_visible or (is_visible and outcome = 'version')
"""

# What a publish would change, before it writes versions: `was` is still the version that the head names.
CHANGES = """
select
    k.natural_key, case when k.was_visible then v.payload::text end,
    case when k.is_visible then coalesce(l.payload, v.payload)::text end,
    coalesce(k.window_at, nullif(k.modified_at, '-infinity'))
from publish_key as k
left join {landing} as l on l.block_no = k.block_no and l.ordinal = k.ordinal and l.attempt = %s
    and k.outcome = 'version'
left join {raw}.head as h
    on h.source_id = k.source_id and h.stream = k.stream and h.natural_key = k.natural_key
left join {table} as v on v.version_id = h.version_id
where k.integration = %s and k.stream = %s
    and (k.was_visible <> k.is_visible or (k.is_visible and k.outcome = 'version'))
order by k.natural_key
"""

# Records set aside whose key is known in a later state: what they said would not be in force. Where one does not tell
# when it was modified, its key must have been seen after it. Neither depends on the order in which blocks are loaded.
OVERTAKE = """
with overtaken as (
    update {raw}.quarantine as q
    set state = 'overtaken', decided_at = clock_timestamp(), decided_reason = 'a later state of the record is known'
    from {raw}.head as h
    where
        q.state = 'open' and h.source_id = q.source_id and h.stream = q.stream and h.natural_key = q.natural_key
        and exists (
            select from publish_row as r
            where r.source_id = q.source_id and r.stream = q.stream and r.natural_key = q.natural_key
        )
        and case
            when q.modified_at is null then h.last_seen_at > q.observed_at
            else (h.modified_at, h.observed_at, h.block_id, h.ordinal, h.generation)
                > (q.modified_at, q.observed_at, q.block_id, q.ordinal, q.generation)
        end
    returning q.block_id, q.generation, q.ordinal
),

published_now as (
    update publish_row as r
    set is_rejected = false
    from overtaken as o
    where r.block_id = o.block_id and r.generation = o.generation and r.ordinal = o.ordinal
    returning r.block_id, r.generation, r.ordinal
),

published_before as (
    select block_id, generation, count(*) as n
    from (table overtaken except table published_now) as before
    group by 1, 2
)

update {raw}.loaded_blocks as l
set quarantined = l.quarantined - o.n, superseded = l.superseded + o.n
from published_before as o
where l.block_id = o.block_id and l.generation = o.generation
"""

COUNT_FEED = """
select source_id, stream, count(*)
from publish_key
where was_visible <> is_visible or (is_visible and outcome = 'version')
group by source_id, stream
"""

COUNT = """
insert into publish_count
select
    b.block_id, b.generation, b.source_id, b.integration, b.stream,
    coalesce(r.found, 0), coalesce(k.versions, 0), coalesce(k.unchanged, 0),
    coalesce(r.found - r.rejected, 0) - coalesce(k.versions, 0) - coalesce(k.unchanged, 0), coalesce(r.rejected, 0),
    case when b.is_complete then (
        select count(*) from publish_key as gone
        where gone.source_id = b.source_id and gone.stream = b.stream and gone.was_visible and not gone.is_visible
            and b.observed_at > gone.last_seen_at
            and (b.window_from is null or (gone.window_at >= b.window_from and gone.window_at < b.window_to))
    ) else 0 end
from publish_block as b
left join (
    select block_no, count(*) as found, count(*) filter (where is_rejected) as rejected from publish_row group by 1
) as r using (block_no)
left join (
    select
        block_no,
        count(*) filter (where outcome = 'version') as versions,
        count(*) filter (where outcome = 'unchanged') as unchanged
    from publish_key group by 1
) as k using (block_no)
"""

LEDGER = """
insert into {raw}.loaded_blocks (
    block_id, generation, source_id, stream, observed_at, records, versions, unchanged, superseded, quarantined,
    tombstones
)
select
    c.block_id, c.generation, c.source_id, c.stream, b.observed_at, b.records, c.versions, c.unchanged, c.superseded,
    c.quarantined, c.tombstones
from publish_count as c
inner join publish_block as b using (block_id, generation)
where not b.is_retry
"""

LEDGER_OF_RETRIES = """
update {raw}.loaded_blocks as l
set versions = l.versions + c.versions, unchanged = l.unchanged + c.unchanged,
    superseded = l.superseded + c.superseded, tombstones = l.tombstones + c.tombstones,
    quarantined = l.quarantined - c.versions - c.unchanged - c.superseded
from publish_count as c
inner join publish_block as b using (block_id, generation)
where b.is_retry and l.block_id = c.block_id and l.generation = c.generation
"""

READ_THROUGH = """
insert into {raw}.read_through as told (source_id, stream, observed_at)
select source_id, stream, max(observed_at) from publish_block where block_no = any(%s) group by source_id, stream
on conflict (source_id, stream) do update set observed_at = excluded.observed_at
where told.observed_at < excluded.observed_at
"""
