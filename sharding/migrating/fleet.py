"""Migrations of all shards: a plan; one shard first, looked at; then the others side by side.

What a shard has is written on the shard, so a run that was killed is run again and does the rest. A shard that fails
or stays locked stops no other one; code that needs the new version refuses it alone (`migrate.unusable`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg2

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.migrate import MIGRATIONS, Drift, Locks, StayedLockedError, shard_drift, version_of
from sharding.migrating import record
from sharding.migrating.files import files_of, fingerprint
from sharding.migrating.health import require_healthy
from sharding.model import Shard
from sharding.provision import provision_shard

WORKERS = 4

Say = Callable[[str], None]
State = Literal["migrated", "up to date", "locked", "failed", "unreachable", "newer"]


@dataclass(frozen=True)
class Standing:
    """How a shard stands to this checkout's files. `at` is its newest revision, None before its first."""

    shard: str
    at: str | None
    drift: Drift
    error: str = ""

    @property
    def behind(self) -> bool:
        """It has a version, and lacks migrations."""
        return self.at is not None and bool(self.drift.missing) and not self.drift.unknown


@dataclass(frozen=True)
class Outcome:
    """What became of a shard. `revisions`: applied now; `error`: why not all were."""

    shard: str
    state: State
    revisions: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def good(self) -> bool:
        """The shard is at this checkout's version."""
        return self.state in ("migrated", "up to date")


class CanaryError(LarderError):
    """The shard that went first failed, or is not healthy: no other one was touched."""


def plan(shards: Sequence[Shard], folder: Path = MIGRATIONS) -> list[Standing]:
    """How each shard stands; changes nothing."""

    def one(shard: Shard) -> Standing:
        try:
            return Standing(shard.name, version_of(shard), shard_drift(shard, folder))
        except psycopg2.OperationalError as error:
            return Standing(shard.name, None, Drift((), (), ()), _one_line(error))

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, shards))


def canary_of(catalogue: Catalogue, shards: Sequence[Shard]) -> Shard:
    """The shard whose failure would matter least: fewest businesses, then smallest database."""
    businesses = [business.shard for business in catalogue.businesses()]
    return min(shards, key=lambda shard: (businesses.count(shard.name), _bytes(shard), shard.name))


def migrate(
    catalogue: Catalogue,
    shards: Sequence[Shard],
    *,
    canary: str | None = None,
    workers: int = WORKERS,
    locks: Locks | None = None,
    check: Callable[[Shard], None] = require_healthy,
    say: Say = lambda line: None,
    folder: Path = MIGRATIONS,
) -> list[Outcome]:
    """Bring every shard that has a version to the newest one; one outcome each.

    Args:
        canary: the shard that goes first; default: see `canary_of`. A run that goes on keeps the one that was good.
        workers: shards that are migrated at once.
        check: raises LarderError where the canary is not healthy.

    Raises:
        CanaryError: the first shard failed; the others are as they were.
    """
    standing = {one.shard: one for one in plan(shards, folder)}
    by_name = {shard.name: shard for shard in shards}
    files = fingerprint(files_of("shard", folder))
    noted = record.migrated(catalogue, files)

    def half_done(one: Standing) -> bool:
        """It has the newest version; whether rights were arranged after it, a run that was killed did not say."""
        return noted is not None and one.at is not None and not one.drift and one.shard not in noted

    behind = [s for s in shards if standing[s.name].behind or half_done(standing[s.name])]
    done = [_standing_still(standing[shard.name]) for shard in shards if shard not in behind]
    everywhere = {shard.name for shard in catalogue.shards()} <= set(by_name)
    if not behind:
        if everywhere and all(outcome.good for outcome in done):
            record.finish(catalogue, files)
        return done
    if canary is not None and canary not in by_name:
        raise LarderError(f"{canary} is not among the shards to migrate", "you", "larder shard list")
    run = record.open_run(catalogue, files)

    def one(shard: Shard) -> Outcome:
        outcome = _migrate(shard, standing[shard.name].drift.missing, locks, folder)
        record.note(catalogue, run, shard.name, outcome.state, outcome.revisions, outcome.seconds, outcome.error)
        say(_told(outcome))
        return outcome

    if not run.canary_good:
        # One that was killed before it was looked at goes first again, whether or not it is behind.
        chosen = canary or (run.canary if run.canary in by_name else None)
        first = by_name[chosen] if chosen else canary_of(catalogue, behind)
        record.choose_canary(catalogue, run, first.name)
        if first in behind:
            behind.remove(first)
            done.append(one(first))
            if not done[-1].good:
                raise _canary_failed(first, done[-1].error, behind)
        try:
            check(first)
        except LarderError as error:
            raise _canary_failed(first, error.cause, behind) from error
        record.canary_is_good(catalogue, run)
        say(f"{first.name} is healthy; {len(behind)} more")
    with ThreadPoolExecutor(max(1, workers)) as pool:
        done += pool.map(one, behind)
    if everywhere and all(outcome.good for outcome in done):
        record.finish(catalogue, files)
    order = {shard.name: place for place, shard in enumerate(shards)}
    return sorted(done, key=lambda outcome: order[outcome.shard])


def refused(outcomes: Sequence[Outcome]) -> LarderError | None:
    """The error to end with where some shards are not at the newest version; the others are."""
    bad = [outcome for outcome in outcomes if not outcome.good]
    if not bad:
        return None
    names = ", ".join(outcome.shard for outcome in bad)
    cause = f"{len(bad)} of {len(outcomes)} shards are not at the newest version ({names}): {bad[0].error}"
    return LarderError(cause, "us" if bad[0].state in ("locked", "failed") else "config", "larder shard migrate --plan")


def _migrate(shard: Shard, before: Sequence[str], locks: Locks | None, folder: Path) -> Outcome:
    began = time.monotonic()

    def ended(state: State, error: Exception | None = None) -> Outcome:
        left = () if state == "migrated" else before if state == "unreachable" else shard_drift(shard, folder).missing
        applied = tuple(revision for revision in before if revision not in left)
        said = "" if error is None else error.cause if isinstance(error, LarderError) else _one_line(error)
        return Outcome(shard.name, state, applied, time.monotonic() - began, said)

    try:
        provision_shard(shard, folder, locks)  # roles that a migration needs come before it, rights after it
    except StayedLockedError as error:
        return ended("locked", error)
    except psycopg2.OperationalError as error:
        return ended("unreachable" if error.pgcode is None else "failed", error)
    except (LarderError, psycopg2.Error) as error:
        return ended("failed", error)
    return ended("migrated")


def _standing_still(standing: Standing) -> Outcome:
    if standing.error:
        return Outcome(standing.shard, "unreachable", error=standing.error)
    if standing.drift.unknown:
        return Outcome(standing.shard, "newer", error=f"it has {', '.join(standing.drift.unknown)}, this checkout not")
    if standing.at is None:
        return Outcome(standing.shard, "failed", error="it has no schema yet (larder up)")
    return Outcome(standing.shard, "up to date")


def _canary_failed(shard: Shard, why: str, others: Sequence[Shard]) -> CanaryError:
    untouched = f"; {len(others)} others were left as they are" if others else ""
    return CanaryError(f"{shard.name} went first and failed: {why}{untouched}", "us", "larder shard migrate --plan")


def _told(outcome: Outcome) -> str:
    what = ", ".join(outcome.revisions) or "nothing"
    why = f": {outcome.error}" if outcome.error else ""
    return f"{outcome.shard}: {outcome.state}, {what} applied in {outcome.seconds:.1f} s{why}"


def _bytes(shard: Shard) -> int:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_database_size(current_database())")
        [(size,)] = cursor.fetchall()
    return int(size)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
