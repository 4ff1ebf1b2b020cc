"""A shard's quiet hour: looked at, swept, vacuumed where it is needed, its old blocks given up. No Dagster here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from ingestion import index, retention, uploads
from ingestion.erasing import sweep_landing
from ingestion.errors import LarderError as IngestionError
from ingestion.load import connect
from ingestion.retention import Spare
from orchestration.cycle import Installation
from orchestration.transform import connect as connect_builder
from orchestration.transform import target_of
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import LOADER, Shard
from sharding.moving import capture, copying
from sharding.moving.layout import relation
from sharding.query import read_only
from sharding.upkeep import quiet, work
from sharding.upkeep.facts import look
from sharding.upkeep.quiet import Quiet

Work = Literal["upkeep", "backup", "restore test", "retention"]
Say = Callable[[str], None]
KEEP_RUNS = timedelta(days=180)
KEEP_EMPTY = timedelta(days=30)
"""How long the extraction log keeps windows that gave nothing: with ten minutes a stream they are most of it."""
KEEP_CHANGES = timedelta(days=400)
"""How long it is kept what each build of a model changed, ten million rows a year of a busy shard: as far back as a
number is compared, which is where `explain` and `debug` look for who changed it."""


@dataclass
class Upkeep:
    """What a quiet hour came to. `orphans`: rows of raw that no load accounts for; nobody deletes them unseen."""

    shard: str
    swept: int = 0
    settings: int = 0
    forgotten: int = 0
    done: list[work.Done] = field(default_factory=list)
    orphans: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> list[work.Done]:
        """What was not done."""
        return [one for one in self.done if one.error]


def maintain(
    at: Installation, shard: Shard, within: float, say: Say = lambda text: None, *, freeze: bool = False
) -> Upkeep:
    """Keep one shard for `within` seconds at most. `freeze`: every table, whatever its age.

    Raises:
        LarderError: the shard does not answer.
    """
    done = Upkeep(shard.name)
    with noted(at.catalogue, shard.name, "upkeep") as detail:
        with closing(connect(shard.as_role(LOADER).dsn)) as conn:
            done.swept = sweep_landing(conn, shard.schema("raw"))
        with closing(copying.connect(shard)) as conn:
            being_read = capture.sweep(conn, shard)
        with closing(connect_builder(target_of(shard))) as conn:
            done.forgotten = forget_changes(conn, shard)
        done.settings = work.arrange_storage(shard)
        todo = work.tasks(look(shard), freeze_all=freeze)
        done.done = list(work.run(shard, todo, within, say))
        done.orphans = orphans(shard)
        remember(at.catalogue, shard.name, quiet_time(at, shard))
        detail |= {"tables": len(done.done), "not done": len(done.failed), "landing tables emptied": done.swept,
                   "changes forgotten": done.forgotten, "orphaned rows": sum(done.orphans.values()),
                   "tables with move triggers": being_read}  # fmt: skip
        if done.orphans:
            table, rows = next(iter(done.orphans.items()))
            raise LarderError(
                f"{rows} rows of {table} on {shard.name} are of no load that its ledger knows", "us",
                f"larder reconcile; larder verify --shard {shard.name}",
            )  # fmt: skip
    return done


def forget_changes(conn: Connection, shard: Shard) -> int:
    """Delete what builds of models changed long ago (KEEP_CHANGES); returns how many entries."""
    with conn, conn.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", (f"{shard.schema('meta')}.model_change",))
        if cursor.fetchone() == (False,):
            return 0  # nothing was ever built here
        cursor.execute(
            sql.SQL("delete from {} where run_at < now() - %s").format(relation(shard, "meta.model_change")),
            (KEEP_CHANGES,),
        )
        return cursor.rowcount


def orphans(shard: Shard) -> dict[str, int]:
    """Rows of raw whose block the ledger does not know, by table. A publish writes both in one transaction, so there
    are none; but for tombstones, which a window's absence made, and whose block is then that window's."""
    found = {}
    streams = read_only(shard, "select integration, stream from {raw}.stream order by 1, 2").rows
    for integration, stream in streams:
        table = f'"{shard.schema("raw")}_{integration}"."{stream}"'
        [(rows,)] = read_only(
            shard,
            f"select count(*) from {table} as v where v.block_id is not null and not exists (select from"
            " {raw}.loaded_blocks as ledger where ledger.block_id = v.block_id)",
        ).rows
        if rows:
            found[f"raw_{integration}.{stream}"] = int(rows)
    [(heads,)] = read_only(
        shard,
        "select count(*) from {raw}.head as h where not exists (select from {raw}.loaded_blocks as ledger"
        " where ledger.block_id = h.block_id)",
    ).rows
    return found | ({"raw.head": int(heads)} if heads else {})


def maintain_control(at: Installation, release_days: int = 0, say: Say = lambda text: None) -> dict[str, int]:
    """Keep the control database small: log lines of windows that gave nothing, old runs of upkeep; then vacuum.

    Args:
        release_days: local files of blocks that are older and whose copies are good are given up; 0: none.
    """
    catalogue, removed = at.catalogue, {}
    with noted(catalogue, "control", "upkeep") as detail:
        with catalogue.connect() as connection, connection.cursor() as cursor:
            for name, statement, age in (
                ("empty windows in the log", "delete from control.extraction_log where outcome = 'empty' and"
                 " finished_at < clock_timestamp() - %s", KEEP_EMPTY),
                ("runs of upkeep", "delete from control.maintenance_runs where started_at < clock_timestamp() - %s",
                 KEEP_RUNS),
            ):  # fmt: skip
                cursor.execute(statement, (age,))
                removed[name] = cursor.rowcount
        with closing(index.connect(catalogue.dsn)) as conn:
            conn.autocommit = True
            with conn.cursor() as cursor:
                cursor.execute("vacuum (analyze, skip_locked)")
        if release_days and at.store.remote is not None:
            before = datetime.now(UTC) - timedelta(days=release_days)
            removed["local files of copied blocks"], _ = uploads.release(catalogue.dsn, at.store, before)
        detail |= removed
    say("control: " + ", ".join(f"{count:,} {name}" for name, count in removed.items()))
    return removed


# -- quiet hours and what was done ------------------------------------------------------------------------------------


def quiet_time(at: Installation, shard: Shard) -> Quiet:
    """When a shard is quiet, by the orders of its last four weeks, else by its locations' clocks."""
    now = datetime.now(UTC)
    [(there,)] = read_only(shard, "select to_regclass('{marts}.sum_sales_hour') is not null").rows
    sold = {}
    if there:
        query = (
            "select extract(hour from hour_start at time zone 'utc')::int, sum(order_count)::bigint"
            " from {marts}.sum_sales_hour where business_date > (select max(business_date) - 28"
            " from {marts}.sum_sales_hour) group by 1"
        )
        sold = {hour: int(orders or 0) for hour, orders in read_only(shard, query).rows}
    query = "select timezone from {keys}.location_setting where valid_to = 'infinity'"
    zones = [zone for (zone,) in read_only(shard, query).rows]
    return quiet.quiet_time(shard.name, sold, zones, now)


def remember(catalogue: Catalogue, shard: str, found: Quiet) -> None:
    """Keep a shard's quiet time where the schedule looks."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into control.quiet_hours as q (shard, minute, because) values (%s, %s, %s) on conflict (shard) do"
            " update set minute = excluded.minute, because = excluded.because, found_at = clock_timestamp()",
            (shard, found.minute, found.because),
        )


def quiet_times(catalogue: Catalogue) -> dict[str, Quiet]:
    """The quiet time of every shard; of one that had none yet, a moment that follows from its name."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select shard, minute, because from control.quiet_hours")
        known = {shard: Quiet(minute, because) for shard, minute, because in cursor.fetchall()}
    now = datetime.now(UTC)
    return {s.name: known.get(s.name) or quiet.quiet_time(s.name, {}, [], now) for s in catalogue.shards()}


def last_runs(catalogue: Catalogue) -> dict[tuple[str, str], tuple[datetime, bool | None, Mapping[str, Any]]]:
    """(shard, work) → when it was last begun, whether it was good, and its figures."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select distinct on (shard, work) shard, work, started_at, good, detail from control.maintenance_runs"
            " order by shard, work, started_at desc"
        )
        return {(shard, what): (at, good, detail) for shard, what, at, good, detail in cursor.fetchall()}


@contextmanager
def noted(catalogue: Catalogue, shard: str, what: Work) -> Iterator[dict[str, Any]]:
    """Write down that a work began and what it came to. What the block puts into the dictionary is kept."""
    detail: dict[str, Any] = {}
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into control.maintenance_runs (shard, work) values (%s, %s) returning run_id", (shard, what)
        )
        [(run,)] = cursor.fetchall()
    good = False
    try:
        yield detail
        good = True
    except (LarderError, IngestionError) as error:
        detail["error"] = error.cause
        raise
    finally:
        with catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.maintenance_runs set finished_at = clock_timestamp(), good = %s, detail = %s"
                " where run_id = %s",
                (good, Json(detail), run),
            )


# -- blocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Retention:
    """How long a business keeps blocks that nothing needs."""

    business: str
    keep_days: int
    decided_by: str
    decided_at: datetime


def retentions(catalogue: Catalogue) -> list[Retention]:
    """The businesses that keep them not for ever."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select b.name, r.keep_days, r.decided_by, r.decided_at from control.block_retention as r"
            " inner join control.businesses as b using (business) order by 1"
        )
        return [Retention(*row) for row in cursor.fetchall()]


def set_retention(catalogue: Catalogue, business: str, keep_days: int | None, by: str) -> None:
    """Keep what nothing needs for so many days; None: for ever."""
    number = catalogue.business(business).id
    with catalogue.connect() as connection, connection.cursor() as cursor:
        if keep_days is None:
            cursor.execute("delete from control.block_retention where business = %s", (number,))
        else:
            cursor.execute(
                "insert into control.block_retention (business, keep_days, decided_by) values (%s, %s, %s)"
                " on conflict (business) do update set keep_days = excluded.keep_days,"
                " decided_by = excluded.decided_by, decided_at = clock_timestamp()",
                (number, keep_days, by),
            )


def spare_blocks(at: Installation, business: str, keep_days: int) -> list[Spare]:
    """Blocks of a business that nothing needs and whose time is over."""
    owner = at.catalogue.business(business)
    shard = at.catalogue.shard(owner.shard)
    with closing(index.connect(at.catalogue.dsn)) as control:
        return retention.spare_blocks(
            control, shard.as_role(LOADER).dsn, shard.schemas, [s.id for s in at.catalogue.sources(owner.id)],
            timedelta(days=keep_days),
        )  # fmt: skip


def give_up(at: Installation, business: str, spare: list[Spare]) -> int:
    """Give blocks of a business up; returns the bytes."""
    with noted(at.catalogue, at.catalogue.business(business).shard, "retention") as detail:
        with closing(index.connect(at.catalogue.dsn)) as control:
            size = retention.retire(control, at.store, spare)
        detail |= {"business": business, "blocks": len(spare), "bytes": size}
    return size


def keep_to_policies(at: Installation, shard: str, say: Say = lambda text: None) -> dict[str, int]:
    """Give up what the businesses of a shard keep no longer."""
    told = {"blocks given up": 0, "bytes of them": 0}
    ours = {business.name for business in at.catalogue.businesses(shard)}
    for one in retentions(at.catalogue):
        if one.business in ours and (spare := spare_blocks(at, one.business, one.keep_days)):
            told["blocks given up"] += len(spare)
            told["bytes of them"] += give_up(at, one.business, spare)
            say(f"{one.business}: {len(spare)} blocks given up")
    return told
