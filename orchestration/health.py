"""Whether upkeep and backups are done: what the control database and the place of the backups say. No Dagster here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from ingestion import index, uploads
from orchestration.backups import CONTROL, Backup, Tested, latest, vault_of
from orchestration.notices import outbox
from orchestration.upkeep import last_runs
from sharding.settings import Settings
from sharding.up import open_catalogue
from sharding.upkeep.finding import Finding

OLD = timedelta(hours=36)
"""A night that was missed is told before the next one."""
TESTED = timedelta(days=10)
"""Each shard's newest backups are tested once a week."""
BEHIND = timedelta(hours=1)
TRIES = 3

Runs = Mapping[tuple[str, str], tuple[datetime, bool | None, Mapping[str, Any]]]


def upkeep(settings: Settings) -> Iterator[Finding]:
    """Findings on quiet hours, backups, restore tests and copies of blocks."""
    catalogue, now = open_catalogue(settings), datetime.now(UTC)
    names = [shard.name for shard in catalogue.shards()]
    runs, found = last_runs(catalogue), latest(vault_of(settings))
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select shard, created_at from control.shards")
        since = dict(cursor.fetchall())
    since[CONTROL] = min(since.values(), default=now)
    for name in [*names, CONTROL]:
        yield _kept(name, runs, now)
        backup, test = found.get(name, (None, None))
        yield _backed_up(name, backup, runs, now, since[name])
        if name != CONTROL:
            yield _tested(name, test, now)
    if settings.backups.startswith(f"file://{settings.home}"):
        detail = f"backups are in {settings.backups}, on the disk of what they are of"
        yield Finding("backups", "warn", detail, "LARDER_BACKUPS=s3://… larder backup make", "config")
    yield from _copies(settings, catalogue.dsn, now)
    yield _letters(catalogue.dsn)


def _kept(name: str, runs: Runs, now: datetime) -> Finding:
    check, next_command = f"upkeep of {name}", f"larder maintain {name}"
    last = runs.get((name, "upkeep"))
    if last is None:
        return Finding(check, "warn", "its quiet hour was never used", next_command, "us")
    at, good, detail = last
    if good is False:
        return Finding(check, "fail", f"{at:%Y-%m-%d %H:%M}: {detail.get('error', 'it failed')}", next_command, "us")
    if now - at > OLD:
        said = f"last at {at:%Y-%m-%d %H:%M}: does the schedule run?"
        return Finding(check, "warn", said, f"{next_command}; larder dagster", "us")
    said = ", ".join(f"{value} {what}" for what, value in detail.items() if value) or "nothing to do"
    return Finding(check, "ok", f"{at:%Y-%m-%d %H:%M}: {said}")


def _backed_up(name: str, last: Backup | None, runs: Runs, now: datetime, since: datetime) -> Finding:
    check, next_command = f"backup of {name}", f"larder backup make {name}"
    run = runs.get((name, "backup"))
    if run is not None and run[1] is False and (last is None or run[0] > last.at):
        said = f"{run[0]:%Y-%m-%d %H:%M}: {run[2].get('error', 'it failed')}"
        return Finding(check, "fail", said, next_command, "us")
    if last is None:
        return Finding(check, "fail" if now - since > OLD else "warn", "there is none", next_command, "us")
    if now - last.at > OLD:
        return Finding(check, "warn", f"the last is of {last.at:%Y-%m-%d %H:%M}", next_command, "us")
    return Finding(check, "ok", f"{last.name}: {last.bytes / 2**20:,.1f} MB in {last.seconds:.1f} s")


def _tested(name: str, last: Tested | None, now: datetime) -> Finding:
    check, next_command = f"restore test of {name}", f"larder backup test {name}"
    if last is None:
        return Finding(check, "warn", "no backup of it was ever restored", next_command, "us")
    if not last.good:
        return Finding(check, "fail", f"{last.at:%Y-%m-%d %H:%M}: {last.said}", next_command, "us")
    if now - last.at > TESTED:
        return Finding(check, "warn", f"last at {last.at:%Y-%m-%d}", next_command, "us")
    said = f"{last.at:%Y-%m-%d %H:%M}: {last.rows:,} rows, {last.caught_up} blocks loaded again, equal to the cent"
    return Finding(check, "ok", said)


def _copies(settings: Settings, control_dsn: str, now: datetime) -> Iterator[Finding]:
    if not settings.block_remote:
        if settings.block_store.startswith("file://"):
            said = "blocks are on one disk: what is lost with it no backup brings back"
            yield Finding("copies of blocks", "warn", said, "LARDER_BLOCK_REMOTE=s3://… larder blocks upload", "config")
        return
    with closing(index.connect(control_dsn)) as conn:
        behind = uploads.backlog(conn)
    if behind.oldest is not None and now - behind.oldest > BEHIND:
        said = f"{behind.waiting} blocks wait since {behind.oldest:%Y-%m-%d %H:%M}: {behind.error or 'no upload runs'}"
        yield Finding("copies of blocks", "warn", said, "larder blocks upload --now", "us")
    else:
        yield Finding("copies of blocks", "ok", f"{behind.waiting} wait")


def _letters(control_dsn: str) -> Finding:
    with closing(index.connect(control_dsn)) as conn:
        refused = [letter for letter in outbox.waiting(conn) if letter["attempts"] >= TRIES]
    if refused:
        said = f"{len(refused)} letters of failures were taken by no server in {TRIES} tries or more"
        return Finding("letters", "warn", said, "larder notices test", "config")
    return Finding("letters", "ok", "none wait")
