"""Freshness objectives: how old a source's data may be before somebody is to be told. Kept in the control database.

The most special one counts: a source's own, its business's for the source's kind, its business's, the kind's, that of
all; where nobody declared any, the kind's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection

DEFAULTS: Mapping[str, timedelta] = {
    "pos": timedelta(minutes=15),  # a tick of ten minutes, and what a cycle takes
    "labour": timedelta(hours=1),
    "marketing": timedelta(hours=6),
    "any": timedelta(hours=6),
}
"""By kind of integration."""


@dataclass(frozen=True)
class Objective:
    """A declared objective. None: of every kind, business or source."""

    kind: str | None
    business: str | None
    source: str | None
    within: timedelta
    set_by: str
    set_at: datetime


def declare(
    conn: Connection,
    within: timedelta,
    by: str,
    *,
    kind: str | None = None,
    business: int | None = None,
    source_id: int | None = None,
) -> None:
    """Declare how old data may be; a later word on the same replaces it."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.objectives as o (kind, business, source_id, within, set_by)"
            " values (%s, %s, %s, %s, %s) on conflict (kind, business, source_id) do update set"
            " within = excluded.within, set_by = excluded.set_by, set_at = clock_timestamp()",
            (kind, business, source_id, within, by),
        )


def withdraw(
    conn: Connection, *, kind: str | None = None, business: int | None = None, source_id: int | None = None
) -> bool:
    """Take a declared objective back: what it was more special than counts again. False if there was none."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "delete from control.objectives where kind is not distinct from %s and business is not distinct from %s"
            " and source_id is not distinct from %s",
            (kind, business, source_id),
        )
        return cur.rowcount > 0


def declared(conn: Connection) -> list[Objective]:
    """All that was declared, the most general first."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select o.kind, coalesce(b.name, of.name), of.name || '/' || s.name, o.within, o.set_by, o.set_at"
            " from control.objectives as o left join control.businesses as b using (business)"
            " left join control.sources as s using (source_id)"
            " left join control.businesses as of on of.business = s.business"
            " order by o.source_id is not null, o.business is not null, o.kind is not null, 2, 3, 1"
        )
        return [Objective(*row) for row in cur.fetchall()]
