"""The statements of a publish that concern blocks loaded again, as a later generation.

What a person gave up stays given up. What was set aside by an earlier generation is settled by the later one: it was
checked anew.
"""

# Records that today's checks refuse too, and that were given up: the decision is taken over.
GIVE_UP_AGAIN = """
update {raw}.quarantine as q
set state = 'discarded', decided_reason = earlier.decided_reason, decided_at = earlier.decided_at
from publish_block as b, {raw}.quarantine as earlier
where b.generation > 1 and not b.is_retry and q.block_id = b.block_id and q.generation = b.generation
    and earlier.block_id = q.block_id and earlier.ordinal = q.ordinal and earlier.generation < q.generation
    and earlier.state = 'discarded'
"""

# Records that were given up and that today's checks accept.
ACCEPTED_BUT_GIVEN_UP = """
select from publish_row as r
inner join publish_block as b on b.block_no = r.block_no and b.generation > 1 and not b.is_retry
where not r.is_rejected and exists (
    select from {raw}.quarantine as q
    where q.block_id = r.block_id and q.ordinal = r.ordinal and q.generation < r.generation and q.state = 'discarded'
)
"""

KEEP_OUT = """
with kept as (
    insert into {raw}.quarantine (
        quarantine_id, block_id, generation, ordinal, source_id, stream, modified_at, observed_at, natural_key, reason,
        detail, payload_text, state, decided_reason, decided_at
    )
    select
        %(first_id)s + row_number() over (order by block_no, ordinal) - 1, block_id, generation, ordinal, source_id,
        stream, modified_at, observed_at, natural_key, reason, detail, payload_text, 'discarded', decided_reason,
        decided_at
    from (
        select distinct on (r.block_no, r.ordinal)
            r.block_no, r.block_id, r.generation, r.ordinal, r.source_id, r.stream, q.modified_at, r.observed_at,
            r.natural_key, q.reason, q.detail, q.payload_text, q.decided_reason, q.decided_at
        from publish_row as r
        inner join publish_block as b on b.block_no = r.block_no and b.generation > 1 and not b.is_retry
        inner join {raw}.quarantine as q
            on q.block_id = r.block_id and q.ordinal = r.ordinal and q.generation < r.generation
            and q.state = 'discarded'
        where not r.is_rejected
        order by r.block_no, r.ordinal, q.generation desc
    ) as given_up
    returning block_id, generation, ordinal
)

update publish_row as r set is_rejected = true
from kept
where r.block_id = kept.block_id and r.generation = kept.generation and r.ordinal = kept.ordinal
"""

SETTLE_EARLIER = """
with settled as (
    update {raw}.quarantine as q
    set state = 'resolved', decided_at = clock_timestamp(),
        decided_reason = 'loaded again as generation ' || b.generation
            || coalesce('; before: ' || q.decided_reason, '')
    from publish_block as b, {raw}.quarantine as before
    where b.generation > 1 and not b.is_retry and q.block_id = b.block_id and q.generation < b.generation
        and q.state in ('open', 'discarded') and before.quarantine_id = q.quarantine_id
    returning q.block_id, q.generation, before.state
),

counted as (
    select
        block_id, generation,
        count(*) filter (where state = 'open') as opened,
        count(*) filter (where state = 'discarded') as discarded
    from settled group by 1, 2
)

update {raw}.loaded_blocks as l
set quarantined = l.quarantined - c.opened, discarded = l.discarded - c.discarded,
    superseded = l.superseded + c.opened + c.discarded
from counted as c
where l.block_id = c.block_id and l.generation = c.generation
"""

# Of the new generation's quarantined records, those given up.
LEDGER_OF_GIVEN_UP = """
update {raw}.loaded_blocks as l
set quarantined = l.quarantined - c.given_up, discarded = c.given_up
from (
    select q.block_id, q.generation, count(*) as given_up
    from publish_block as b
    inner join {raw}.quarantine as q
        on q.block_id = b.block_id and q.generation = b.generation and q.state = 'discarded'
    where b.generation > 1 and not b.is_retry
    group by 1, 2
) as c
where l.block_id = c.block_id and l.generation = c.generation
"""
