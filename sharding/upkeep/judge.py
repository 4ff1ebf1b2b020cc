"""What the facts of a shard mean, whose turn it is, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sharding.errors import Turn
from sharding.upkeep.facts import Facts, Holder
from sharding.upkeep.finding import Finding, State

LAST = 2_147_483_648 - 3_000_000
"""The age at which Postgres takes no more writes: 2^31 less three million."""


@dataclass(frozen=True)
class Limits:
    """From where on something is worth telling.

    Attributes:
        late: times the age at which autovacuum freezes by itself; beyond it autovacuum does not keep up.
        early: age at which somebody has to act. Less than half of what there is: at 1,000 transactions a second the
            rest lasts two weeks.
        held: transactions, or seconds, that somebody may keep dead rows from being collected.
        bytes: what a table or index has to waste before anybody hears of it.
        share: of the table or index.
        unused_days: days of counting after which an index that nobody read is unused.
    """

    late: float = 1.5
    early: int = 1_000_000_000
    held: int = 10_000_000
    held_seconds: float = 3600.0
    prepared_seconds: float = 600.0
    slot_bytes: int = 1 << 30
    bytes: int = 64 << 20
    share: float = 0.5
    unused_days: int = 30
    stale: timedelta = timedelta(days=1)


def judge(shard: str, facts: Facts, limits: Limits | None = None) -> Iterator[Finding]:
    """Findings on one shard, one at least of each kind."""
    limits = limits or Limits()
    yield _transactions(shard, facts, limits)
    yield from _holders(shard, facts, limits)
    yield from _catalog(shard, facts, limits)
    yield from _bloat(shard, facts, limits)
    yield from _indexes(shard, facts, limits)
    yield from _leftovers(shard, facts, limits)


def _transactions(shard: str, facts: Facts, limits: Limits) -> Finding:
    check = f"transaction ids of {shard}"
    oldest = max(facts.tables, key=lambda table: table.age, default=None)
    left = LAST - facts.xid_age
    detail = f"{facts.xid_age:,} used since the oldest row that is not frozen, {left:,} left"
    if oldest is not None:
        detail += f"; oldest: {oldest.at}"
    worst = max(facts.xid_age, facts.multixact_age)
    next_command = f"larder maintain {shard} --freeze"
    if worst > limits.early:
        return Finding(check, "fail", detail + ". At none left it takes no more writes", next_command, "us")
    if worst > limits.late * facts.freeze_at:
        return Finding(check, "warn", detail + ". Autovacuum does not keep up", next_command, "us")
    return Finding(check, "ok", detail)


def _holders(shard: str, facts: Facts, limits: Limits) -> Iterator[Finding]:
    check = f"horizon of {shard}"
    held = [holder for holder in facts.holders if _holds(holder, limits)]
    for holder in held:
        kept = f" and {holder.kept_bytes / 2**20:,.0f} MB of write-ahead log" if holder.kept_bytes else ""
        since = f" for {timedelta(seconds=int(holder.seconds))}" if holder.seconds else ""
        detail = f"{holder.kind} {holder.who} keeps what {holder.age:,} transactions left{kept}{since}"
        who = "superuser" if holder.kind in ("slot", "prepared") else "administrator"
        yield Finding(check, "warn", detail, f"as {who}: {holder.remedy}", "you")
    if not held:
        yield Finding(check, "ok", "nobody keeps dead rows from being collected")


def _holds(holder: Holder, limits: Limits) -> bool:
    seconds = limits.prepared_seconds if holder.kind == "prepared" else limits.held_seconds
    return holder.age > limits.held or holder.seconds > seconds or holder.kept_bytes > limits.slot_bytes


def _catalog(shard: str, facts: Facts, limits: Limits) -> Iterator[Finding]:
    check = f"catalog of {shard}"
    bloated = [
        table for table in facts.catalog if table.bytes > limits.bytes / 4 and table.dead > max(table.live, 10_000)
    ]
    for table in bloated:
        detail = f"{table.name}: {table.dead:,} dead rows beside {table.live:,}, {table.bytes / 2**20:,.0f} MB"
        yield Finding(check, "warn", detail, f"larder maintain {shard}", "us")
    if not bloated:
        size = sum(table.bytes for table in facts.catalog)
        yield Finding(check, "ok", f"{size / 2**20:,.0f} MB")


def _bloat(shard: str, facts: Facts, limits: Limits) -> Iterator[Finding]:
    check = f"bloat of {shard}"
    tables = [t for t in facts.tables if facts.bloat(t) > max(limits.bytes, limits.share * t.pages * 8192)]
    for table in tables:
        detail = (
            f"{table.at}: about {facts.bloat(table) / 2**20:,.0f} of {table.pages * 8192 / 2**20:,.0f} MB hold nothing"
        )
        yield Finding(check, "warn", detail, f"as administrator, while nobody loads: vacuum full {table.at}", "you")
    indexes = [i for i in facts.indexes if i.bloat > limits.bytes and i.bloat > limits.share * i.bytes]
    for index in indexes:
        detail = f"index {index.at}: about {index.bloat / 2**20:,.0f} of {index.bytes / 2**20:,.0f} MB hold nothing"
        yield Finding(check, "warn", detail, f"as administrator: reindex index concurrently {index.at}", "you")
    if not tables and not indexes:
        yield Finding(check, "ok", f"none worth a word in {facts.bytes / 2**20:,.0f} MB")


def _indexes(shard: str, facts: Facts, limits: Limits) -> Iterator[Finding]:
    check = f"indexes of {shard}"
    broken = [index for index in facts.indexes if not index.is_valid]
    for index in broken:
        detail = f"{index.at} is not valid: making it was cut off"
        yield Finding(check, "fail", detail, f"as administrator: reindex index concurrently {index.at}", "us")
    days = (facts.now - facts.counted_since).days if facts.counted_since else None
    unused = [i for i in facts.indexes if i.scans == 0 and not i.enforces and i.bytes > limits.bytes / 8]
    counted = days is None or days >= limits.unused_days
    since = f"in {days} days" if days is not None else "since the database was made"
    for index in unused if counted else []:
        detail = f"nobody read by {index.at} {since}; it has {index.bytes / 2**20:,.0f} MB"
        yield Finding(check, "warn", detail, "a migration that drops it, after a look at replicas' counters", "us")
    if not broken and not (unused and counted):
        young = f"; counted for {days} days only" if not counted else ""
        yield Finding(check, "ok", f"{len(facts.indexes)}, all valid{young}")


def _leftovers(shard: str, facts: Facts, limits: Limits) -> Iterator[Finding]:
    check = f"leftovers of {shard}"
    found: list[tuple[State, str, str, Turn]] = []
    if facts.landing:
        size = sum(facts.landing.values()) / 2**20
        said = f"{len(facts.landing)} landing tables hold {size:,.1f} MB, of loads that run or were killed"
        found.append(("warn" if size > limits.bytes / 2**20 else "ok", said, f"larder maintain {shard}", "us"))
    if facts.leftovers:
        said = f"dbt left {', '.join(facts.leftovers[:3])}"
        found.append(("warn", said, f"as administrator: drop {facts.leftovers[0]}, while no build runs", "us"))
    behind = {model: since for model, since in facts.stale.items() if facts.now - since > limits.stale}
    if behind:
        model, since = min(behind.items(), key=lambda item: item[1])
        said = (
            f"{len(behind)} models are behind their feeds, {model} since {since:%Y-%m-%d %H:%M}; feeds grow meanwhile"
        )
        found.append(("warn", said, f"larder build --shard {shard}", "us"))
    for state, said, next_command, turn in found:
        yield Finding(check, state, said, "" if state == "ok" else next_command, None if state == "ok" else turn)
    if not found:
        yield Finding(check, "ok", "none")
