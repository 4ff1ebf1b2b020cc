"""How fresh each source's data are, against its objective: asked of the control database, whatever is running.

A stream's data are *through* the moment up to which they were read, loaded and built: the vendor was last read to the
end then, no block of that waits for its load, and the shard's models took in what was loaded. A stream that is not
read at every tick may in any case be as old as its cadence, a tenth of grace, and what a tick and a cycle take. Hours
in which a vendor may not be asked do not count. A source is as late as its latest stream.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from psycopg2.extensions import connection as Connection

from ingestion.cadence import TICK
from ingestion.errors import LarderError
from ingestion.manifest import REIMPORT
from ingestion.objectives import DEFAULTS
from ingestion.registry import discover, spec_of
from ingestion.spec import AllowedHours, Stream

State = Literal["fresh", "late", "very_late", "paused", "new", "wrong"]
STATES: tuple[State, ...] = ("fresh", "late", "very_late", "paused", "new", "wrong")
VERY = 3
"""So many times older than they may be, data are very late."""
FIRST = timedelta(days=1)
"""That a new source has to be read to the end for the first time: years may lie before it."""
TURN = timedelta(minutes=15)
"""A tick, and what a cycle takes."""
OWN = "data"
"""The integration whose streams each source names itself."""


@dataclass(frozen=True)
class Freshness:
    """A source's. `stream` is the one that is most behind, `through` the moment up to which its data are in the models;
    None: never read to the end. `allowed`: how old they may be now. By the vendors' clock."""

    source_id: int
    source: str
    business: str
    integration: str
    kind: str
    shard: str
    state: State
    stream: str | None
    through: datetime | None
    age: timedelta | None
    objective: timedelta
    allowed: timedelta | None

    @property
    def late(self) -> bool:
        """Older than it may be."""
        return self.state in ("late", "very_late")


@dataclass(frozen=True)
class Count:
    """Sources of an integration that are in a state, and the age of the oldest data among them."""

    integration: str
    kind: str
    state: State
    sources: int
    oldest: timedelta | None


@dataclass(frozen=True)
class Report:
    """All sources counted, and those that are most behind one by one. `businesses`: late ones, and all."""

    counts: tuple[Count, ...]
    worst: tuple[Freshness, ...]
    late_businesses: int
    businesses: int

    def sources(self, *states: State) -> int:
        """How many sources are in one of the states; in any where none is named."""
        return sum(count.sources for count in self.counts if not states or count.state in states)


def open_span(hours: AllowedHours | None, now: datetime) -> tuple[datetime | None, datetime]:
    """When a vendor could last be asked: from (None: always) and until, `now` at the latest."""
    if hours is None:
        return None, now
    zone = ZoneInfo(hours.time_zone)
    today = now.astimezone(zone).date()
    for back in range(3):
        day = today - timedelta(days=back)
        start = datetime.combine(day, hours.start, zone)
        if start <= now:
            over = day if hours.end > hours.start else day + timedelta(days=1)
            return start, min(now, datetime.combine(over, hours.end, zone))
    raise AssertionError("a day begins within three days")


def evaluate(
    conn: Connection, now: datetime, business: int | None = None, worst: int = 20, *, late_only: bool = False
) -> Report:
    """How fresh the sources are at `now`, of one business or of all.

    Args:
        worst: how many sources are told one by one, the latest first.
        late_only: of them only those that are late.
    """
    given = {
        **_specs(conn, now, business),
        "business": business,
        "now": now,
        "default": DEFAULTS["any"],
        "first": FIRST,
        "tick": TICK,
        "turn": TURN,
        "very": VERY,
        "reimport": REIMPORT,
        "worst": worst,
        "late_only": late_only,
    }
    # The condition is text, and not a parameter that may be null: the planner has to know how many rows come.
    of_whom = "true" if business is None else "s.business = %(business)s"
    with conn, conn.cursor() as cur:
        cur.execute("set local work_mem = '64MB'")
        cur.execute(_STREAMS.replace("OF_WHOM", of_whom) + _ALL, given)
        rows = cur.fetchall()
        counts = tuple(Count(*row[1:6]) for row in rows if row[0] is None)
        cur.execute(
            _STREAMS.replace("OF_WHOM", "s.source_id = any(%(ids)s)") + _EACH,
            {**given, "ids": [row[0] for row in rows if row[0] is not None]},
        )
        found = {row[0]: Freshness(*row) for row in cur.fetchall()}
    [(late, of)] = {row[6:] for row in rows} or {(0, 0)}
    return Report(counts, tuple(found[row[0]] for row in rows if row[0] is not None), late, of)


def late_sources(conn: Connection, now: datetime, limit: int = 100) -> list[Freshness]:
    """The sources whose data are older than their objective allows, the latest first."""
    return list(evaluate(conn, now, worst=limit, late_only=True).worst)


def as_row(one: Freshness) -> dict[str, Any]:
    """A source for a table or JSON."""
    return {**asdict(one), "late": one.late}


def _specs(conn: Connection, now: datetime, business: int | None) -> dict[str, str]:
    """What the files say of integrations and streams; of sources whose streams are their own, source by source."""
    specs = discover()
    integrations, streams = [], []
    for spec in specs.values():
        opened, until = open_span(spec.allowed_hours, now)
        integrations.append(
            {
                "integration": spec.name,
                "kind": spec.kind,
                "standard": f"{DEFAULTS[spec.kind].total_seconds()} s",
                "opened": opened.isoformat() if opened else None,
                "until": until.isoformat(),
            }
        )
        if spec.name != OWN:
            streams += [{"integration": spec.name, **_stream(stream)} for stream in spec.streams]
    with conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, config from control.sources"
            " where integration = %s and business = coalesce(%s, business)",
            (OWN, business),
        )
        own = []
        for source_id, config in cur.fetchall():
            try:
                spec = spec_of(OWN, config, "larder source check")
            except LarderError:
                continue  # it has no streams that anybody knows: state `wrong`, and its extract says why
            own += [{"source_id": source_id, **_stream(stream)} for stream in spec.streams]
    return {"integrations": json.dumps(integrations), "streams": json.dumps(streams), "own": json.dumps(own)}


def _stream(stream: Stream) -> dict[str, str]:
    return {"stream": stream.name, "cadence": f"{stream.cadence.total_seconds()} s"}


_STREAMS = """
    with integration as materialized (
        select * from jsonb_to_recordset(%(integrations)s::jsonb)
            as i (integration text, kind text, standard interval, opened timestamptz, until timestamptz)
    ),
    shared as materialized (
        select * from jsonb_to_recordset(%(streams)s::jsonb) as i (integration text, stream text, cadence interval)
    ),
    own as materialized (
        select * from jsonb_to_recordset(%(own)s::jsonb) as i (source_id bigint, stream text, cadence interval)
    ),
    waiting as materialized (
        select source_id, stream, min(observed_at) as since from control.blocks
        where loaded_at is null and manifest ->> 'created_by' <> %(reimport)s
        group by source_id, stream
    ),
    source as materialized (
        select
            s.source_id, s.business, s.integration, s.state, s.created_at, i.opened, i.until, cycle.behind_since,
            coalesce(i.kind, 'any') as kind,
            coalesce(of_source.within, of_both.within, of_business.within, of_kind.within, of_all.within, i.standard,
                %(default)s) as within
        from control.sources as s
        inner join control.businesses as b on b.business = s.business
        left join integration as i on i.integration = s.integration
        left join control.shard_cycles as cycle on cycle.shard = b.shard
        left join control.objectives as of_source on of_source.source_id = s.source_id
        left join control.objectives as of_both on of_both.business = s.business and of_both.kind = i.kind
        left join control.objectives as of_business on of_business.business = s.business and of_business.kind is null
        left join control.objectives as of_kind on of_kind.business is null and of_kind.source_id is null
            and of_kind.kind = i.kind
        left join control.objectives as of_all on of_all.business is null and of_all.source_id is null
            and of_all.kind is null
        where OF_WHOM
    ),
    wanted as (
        select source.*, shared.stream, shared.cadence from source inner join shared using (integration)
        union all
        select source.*, own.stream, own.cadence from source inner join own using (source_id)
    ),
    read as (
        select
            w.source_id, w.stream, w.cadence, w.until, w.opened, w.created_at,
            case when w.cadence <= %(tick)s then w.within
                else greatest(w.within, w.cadence * 1.1 + %(turn)s) end
                + case when c.read_at is null then %(first)s else interval '0' end as allowed,
            case when c.read_at is not null
                then least(c.read_at, waiting.since - w.cadence, w.behind_since) end as through
        from wanted as w
        left join control.cursors as c on c.source_id = w.source_id and c.stream = w.stream
        left join waiting on waiting.source_id = w.source_id and waiting.stream = w.stream
    ),
    stream as (
        select *, until - greatest(coalesce(through, created_at), opened) as counted from read
    )
"""
# Every source in one line, and of those the worst; then what is counted.
_ALL = """,
    one as (
        select
            source_id, max(counted - allowed) as over, max(counted - allowed * %(very)s) as far_over,
            bool_or(through is null) as unread,
            coalesce(min(through) filter (where cadence <= %(tick)s), min(through)) as through
        from stream group by source_id
    ),
    found as materialized (
        select
            s.source_id, s.business, s.integration, s.kind, one.over,
            case
                when s.state = 'paused' then 'paused'
                when one.source_id is null then 'wrong'
                when one.far_over > interval '0' then 'very_late'
                when one.over > interval '0' then 'late'
                when one.unread then 'new'
                else 'fresh'
            end as state,
            case when one.through is not null then greatest(%(now)s - one.through, interval '0') end as age
        from source as s left join one using (source_id)
    ),
    worst as (
        select source_id, state from found
        where not %(late_only)s or state in ('late', 'very_late')
        order by state in ('late', 'very_late') desc, state = 'wrong' desc, over desc nulls last, source_id
        limit %(worst)s
    ),
    counted as (
        select integration, kind, state, count(*) as sources, max(age) as age from found group by 1, 2, 3 order by 1, 3
    )
    select told.*, of.late, of.businesses
    from (
        select source_id, null as integration, null as kind, state, null::bigint as sources, null::interval as age
        from worst
        union all
        select null, integration, kind, state, sources, age from counted
    ) as told
    cross join (
        select count(distinct business) filter (where state in ('late', 'very_late')) as late,
            count(distinct business) as businesses
        from found
    ) as of
"""
# Some sources, with the stream of each that is most behind.
_EACH = """,
    latest as (
        select distinct on (source_id) * from stream order by source_id, counted - allowed desc, stream
    )
    select
        s.source_id, b.name || '/' || n.name, b.name, s.integration, s.kind, b.shard,
        case
            when s.state = 'paused' then 'paused'
            when l.source_id is null then 'wrong'
            when l.counted > l.allowed * %(very)s then 'very_late'
            when l.counted > l.allowed then 'late'
            when l.through is null then 'new'
            else 'fresh'
        end,
        l.stream, l.through,
        case when l.through is not null then greatest(%(now)s - l.through, interval '0') end, s.within, l.allowed
    from source as s
    inner join control.sources as n using (source_id)
    inner join control.businesses as b on b.business = s.business
    left join latest as l on l.source_id = s.source_id
"""
