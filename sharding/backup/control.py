"""A control database that was restored, told by the shards what has happened since its backup.

Shards know who lives on them, with the epoch of each placement, and their sources. They do not know where a source's
secret is, nor shards that came since.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from sharding.catalogue import Catalogue
from sharding.model import Shard


@dataclass(frozen=True)
class Told:
    """One thing that the restored control database did not know, and what is left to do about it."""

    what: str
    next: str = ""


def register(catalogue: Catalogue, home: Path) -> list[Told]:
    """Bring the catalogue up to what the shards say, and erasures up to what was confirmed in writing. Safe to
    repeat: a shard that does not answer, or was added to the catalogue again, tells the next time."""
    told: list[Told] = []
    with catalogue.connect() as control, control.cursor() as cursor:
        told += _erasures(cursor, home)
        for shard in catalogue.shards():
            try:
                told += _shard(cursor, shard)
            except psycopg2.OperationalError as error:
                said = " ".join(str(error).split())
                told.append(Told(f"{shard.name} does not answer: {said}", "larder restore control --register-only"))
    return told


def _shard(control: Cursor, shard: Shard) -> Iterator[Told]:
    with closing(psycopg2.connect(shard.dsn, connect_timeout=5)) as conn, conn, conn.cursor() as there:
        there.execute(
            shard.render(
                "select business, name, display_name, epoch, first_weekday, reporting_currency from {keys}.route"
                " where state in ('active', 'paused') order by 1"
            )
        )
        routes = there.fetchall()
        there.execute(
            shard.render(
                "select source.id, {keys}.business_of(source.id), source.integration, source.name, source.config"
                " from {keys}.source inner join {keys}.route on route.business = {keys}.business_of(source.id)"
                " where route.state in ('active', 'paused') order by 1"
            )
        )
        sources = there.fetchall()
    for business, name, display_name, epoch, weekday, currency in routes:
        yield from _business(control, shard.name, business, name, display_name, epoch, weekday, currency)
    for source_id, business, integration, name, config in sources:
        control.execute(
            "insert into control.sources (source_id, business, integration, name, config, state, paused_at, paused_by,"
            " paused_reason) select %s, %s, %s, %s, %s::jsonb, 'paused', clock_timestamp(), 'larder restore',"
            " 'came after the backup of the control database: where is its secret?'"
            " where exists (select from control.businesses where business = %s) on conflict do nothing"
            " returning (select name from control.businesses where business = %s)",
            (source_id, business, integration, name, Json(config), business, business),
        )
        if row := control.fetchone():
            label = f"{row[0]}/{name}"
            again = f"larder source set {label} --secret …; larder source resume {label}"
            yield Told(f"{label} came since; it is paused", again)


def _business(
    control: Cursor, shard: str, business: int, name: str, display_name: str, epoch: int, weekday: int, currency: str
) -> Iterator[Told]:
    control.execute("select shard, epoch from control.businesses where business = %s", (business,))
    known = control.fetchone()
    if known is None:
        control.execute("select 1 from control.erasures where business = %s", (business,))
        if control.fetchone():
            return  # being erased
        control.execute(
            "insert into control.businesses"
            " (business, name, display_name, shard, epoch, first_weekday, reporting_currency)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            (business, name, display_name, shard, epoch, weekday, currency),
        )
        yield Told(f"{name} came since, to {shard}")
    elif epoch > known[1] and shard != known[0]:
        control.execute(
            "update control.businesses set shard = %s, epoch = %s where business = %s", (shard, epoch, business)
        )
        yield Told(f"{name} has moved since, from {known[0]} to {shard}")


def _erasures(control: Cursor, home: Path) -> Iterator[Told]:
    """What was erased since stands in the confirmations; rows that the backup brought back are to be erased again."""
    for path in sorted((home / "erasures").glob("business-*.json")):
        confirmed = json.loads(path.read_text())
        control.execute(
            "insert into control.erasures (business, name, state, removed, begun_at, finished_at)"
            " select %(number)s, %(name)s, case when b.business is null then 'done' else 'begun' end,"
            " case when b.business is null then %(removed)s::jsonb else '{}' end, %(begun)s::timestamptz,"
            " case when b.business is null then %(done)s::timestamptz end"
            " from (select %(number)s::int as number) as asked left join control.businesses as b"
            " on b.business = asked.number"
            " on conflict (business) do nothing returning state",
            {"number": confirmed["number"], "name": confirmed["erased"], "removed": json.dumps(confirmed["removed"]),
             "begun": confirmed["begun_at"], "done": confirmed["finished_at"]},
        )  # fmt: skip
        if row := control.fetchone():
            again = f"larder business erase {confirmed['erased']}" if row[0] == "begun" else ""
            yield Told(f"{confirmed['erased']} was erased since{'; rows of it came back' if again else ''}", again)
