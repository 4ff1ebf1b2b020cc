"""How fresh each source's data are, against its objective. One query on the control database, whatever is running.

A stream's data are *through* the moment up to which they were read, loaded and built: the vendor was last read to the
end then, no block of that waits for its load, and the shard's models took in what was loaded. A stream that is not
read at every tick may in any case be as old as its cadence, a tenth of grace, and what a tick and a cycle take. Hours
in which a vendor may not be asked do not count. A source is as late as its latest stream.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from ingestion.spec import AllowedHours, IntegrationSpec

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
        "specs": json.dumps(list(_specs(conn, now, business))),
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
    with conn, conn.cursor() as cur:
        cur.execute("set local work_mem = '64MB'")
        cur.execute(_QUERY, given)
        rows = cur.fetchall()
    counts = tuple(Count(row[3], row[4], row[6], row[12], row[9]) for row in rows if row[0] is None)
    [(late, of)] = {(row[-2], row[-1]) for row in rows} or {(0, 0)}
    return Report(counts, tuple(Freshness(*row[:12]) for row in rows if row[0] is not None), late, of)


def late_sources(conn: Connection, now: datetime, limit: int = 100) -> list[Freshness]:
    """The sources whose data are older than their objective allows, the latest first."""
    return list(evaluate(conn, now, worst=limit, late_only=True).worst)


def as_row(one: Freshness) -> dict[str, Any]:
    """A source for a table or JSON."""
    return {**asdict(one), "late": one.late}


def _specs(conn: Connection, now: datetime, business: int | None) -> Sequence[dict[str, Any]]:
    """What the files say of each stream; of sources whose streams are their own, for each of them."""
    rows: list[dict[str, Any]] = []
    for spec in discover().values():
        if spec.name != OWN:
            rows += _rows(spec, now, None)
    with conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, config from control.sources"
            " where integration = %s and business = coalesce(%s, business)",
            (OWN, business),
        )
        own = cur.fetchall()
    for source_id, config in own:
        try:
            rows += _rows(spec_of(OWN, config, "larder source check"), now, source_id)
        except LarderError:
            continue  # it has no streams that anybody knows: state `wrong`, and its extract says why
    return rows


def _rows(spec: IntegrationSpec, now: datetime, source_id: int | None) -> list[dict[str, Any]]:
    opened, until = open_span(spec.allowed_hours, now)
    return [
        {
            "integration": spec.name,
            "source_id": source_id,
            "stream": stream.name,
            "kind": spec.kind,
            "cadence": f"{stream.cadence.total_seconds()} s",
            "standard": f"{DEFAULTS[spec.kind].total_seconds()} s",
            "opened": opened.isoformat() if opened else None,
            "until": until.isoformat(),
        }
        for stream in spec.streams
    ]


_QUERY = """
    with spec as materialized (
        select * from jsonb_to_recordset(%(specs)s::jsonb) as s (
            integration text, source_id bigint, stream text, kind text, cadence interval, standard interval,
            opened timestamptz, until timestamptz
        )
    ),
    waiting as materialized (
        select source_id, stream, min(observed_at) as since from control.blocks
        where loaded_at is null and manifest ->> 'created_by' <> %(reimport)s
        group by source_id, stream
    ),
    stream as (
        select
            s.source_id, s.business, s.integration, s.state, spec.stream, spec.kind, wish.within, spec.until,
            case when spec.cadence <= %(tick)s then wish.within
                else greatest(wish.within, spec.cadence * 1.1 + %(turn)s) end
                + case when c.read_at is null then %(first)s else interval '0' end as allowed,
            case when c.read_at is not null
                then least(c.read_at, waiting.since - spec.cadence, cycle.behind_since) end as through,
            spec.until - greatest(
                case when c.read_at is null then s.created_at
                    else least(c.read_at, waiting.since - spec.cadence, cycle.behind_since) end,
                spec.opened
            ) as counted
        from control.sources as s
        inner join control.businesses as b on b.business = s.business
        inner join spec on spec.integration = s.integration and coalesce(spec.source_id, s.source_id) = s.source_id
        left join control.cursors as c on c.source_id = s.source_id and c.stream = spec.stream
        left join waiting on waiting.source_id = s.source_id and waiting.stream = spec.stream
        left join control.shard_cycles as cycle on cycle.shard = b.shard
        left join control.objectives as of_source on of_source.source_id = s.source_id
        left join control.objectives as of_both on of_both.business = s.business and of_both.kind = spec.kind
        left join control.objectives as of_business on of_business.business = s.business and of_business.kind is null
        left join control.objectives as of_kind on of_kind.business is null and of_kind.source_id is null
            and of_kind.kind = spec.kind
        left join control.objectives as of_all on of_all.business is null and of_all.source_id is null
            and of_all.kind is null
        cross join lateral (
            select coalesce(of_source.within, of_both.within, of_business.within, of_kind.within, of_all.within,
                spec.standard) as within
        ) as wish
        where s.business = coalesce(%(business)s, s.business)
    ),
    latest as (
        select distinct on (source_id) * from stream order by source_id, counted - allowed desc, stream
    ),
    found as materialized (
        select
            s.source_id, s.business, s.integration, coalesce(l.kind, 'any') as kind,
            case
                when s.state = 'paused' then 'paused'
                when l.source_id is null then 'wrong'
                when l.counted > l.allowed * %(very)s then 'very_late'
                when l.counted > l.allowed then 'late'
                when l.through is null then 'new'
                else 'fresh'
            end as state,
            l.stream, l.through,
            case when l.through is not null then greatest(%(now)s - l.through, interval '0') end as age,
            coalesce(l.within, %(default)s) as within, l.allowed, l.counted - l.allowed as over
        from control.sources as s left join latest as l on l.source_id = s.source_id
        where s.business = coalesce(%(business)s, s.business)
    ),
    counted as (
        select integration, kind, state, max(age) as age, count(*) as sources from found group by 1, 2, 3 order by 1, 3
    ),
    worst as (
        select f.source_id, b.name || '/' || s.name as label, b.name, f.integration, f.kind, b.shard, f.state, f.stream,
            f.through, f.age, f.within, f.allowed
        from found as f
        inner join control.sources as s using (source_id)
        inner join control.businesses as b on b.business = f.business
        where not %(late_only)s or f.state in ('late', 'very_late')
        order by f.state in ('late', 'very_late') desc, f.state = 'wrong' desc, f.over desc nulls last, f.source_id
        limit %(worst)s
    )
    select told.*, of.late, of.businesses
    from (
        select *, null::bigint as sources from worst
        union all
        select null, null, null, integration, kind, null, state, null, null, age, null, null, sources from counted
    ) as told
    cross join (
        select count(distinct business) filter (where state in ('late', 'very_late')) as late,
            count(distinct business) as businesses
        from found
    ) as of
"""
