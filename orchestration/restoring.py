"""A shard out of a backup: into a database of its own, brought up to today from the block store, compared with its
receipts, and only then put in the place of the one that was lost.

What was loaded since the backup is known in two places: the control database has an index of every block, the restored
shard's ledger says which of them it holds. The rest is loaded again, by the load of every day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psycopg2
from psycopg2 import sql

from ingestion import index, recovery
from ingestion.registry import discover
from ingestion.work_folder import work_folder
from orchestration.backups import Backup, Say, Tested, fetch, note_test, vault_of
from orchestration.cycle import Installation
from orchestration.moves import build_shard
from reconcile.compare import NOT_LOADED
from reconcile.run import Reconciliation
from reconcile.run import run as reconcile
from reconcile.told import differences
from sharding import instances
from sharding.access import workspace
from sharding.access.roles import ensure_roles, open_database
from sharding.access.tenants import carry_access, list_access
from sharding.backup.dump import counts, ensure_groups, restore
from sharding.backup.settle import Settled, close, settle_businesses, settle_transactions
from sharding.backup.shards import shares
from sharding.erasing.traces import connect
from sharding.errors import LarderError
from sharding.migrate import arrange_rights, migrate_shard
from sharding.model import INSPECTOR, LOADER, Business, Shard
from sharding.moving.journal import moves
from sharding.postgres import binaries
from sharding.provision import create_database
from sharding.settings import Settings

Compare = Callable[[Installation, Shard, Business], Reconciliation]


@dataclass
class Restored:
    """What a restore came to. `lost`: blocks that were loaded since the backup; `records`: theirs."""

    shard: Shard
    backup: str
    seconds: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    settled: Settled | None = None
    lost: int = 0
    records: int = 0
    reconciled: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Seconds of all steps."""
        return round(sum(self.seconds.values()), 3)


@dataclass(frozen=True)
class Restorer:
    """Restores shards of one installation. `compare` says whether a business equals its receipts."""

    at: Installation
    settings: Settings
    say: Say = lambda text: None
    compare: Compare | None = None

    def beside(self, backup: Backup, name: str, instance: str | None = None) -> Restored:
        """Restore a backup as a shard of another name, as it was then. It is in no cycle, and takes no writes.

        Raises:
            LarderError: turn `you`: there is a shard of that name.
        """
        found = [shard.name for shard in self.at.catalogue.shards()]
        if name in found:
            raise LarderError(f"there is a shard {name}", "you", f"larder restore {backup.name} --as ANOTHER")
        shard = self._new(backup, name, instance or backup.instance, f"larder_{name}")
        done = self._fill(backup, shard)
        _gate(shard, "paused")
        self.at.catalogue.add_shard(name, shard.instance, shard.database, shard.namespace)
        self.at.catalogue.set_shard_state(name, "retired")
        return done

    def in_place(self, backup: Backup, instance: str | None = None) -> Restored:
        """Put a restored shard, caught up with the present, in the place of the one that the catalogue names.

        The old database, where it still answers, takes no writes from the beginning on, and is kept under another name.

        Raises:
            LarderError: turn `you`: a business is on its way from or to it; `data`: it does not equal its receipts.
        """
        catalogue = self.at.catalogue
        lost = catalogue.shard(backup.of)
        under_way = [m for m in moves(catalogue, open_only=True) if lost.name in (m.from_shard, m.to_shard)]
        if under_way:
            move = under_way[0]
            raise LarderError(
                f"{move.business_name} is on its way from {move.from_shard} to {move.to_shard}: restored, one of them"
                " would not know how far",
                "you",
                f"larder business move {move.business_name} --abort, or --finish",
            )
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        if instances.forget_lost(instance or lost.instance, self.settings):
            self.say(f"the data of instance {instance or lost.instance} are gone: it is made anew")
        shard = self._new(backup, lost.name, instance or lost.instance, f"{lost.database[:40]}_restored_{stamp}")
        answers = _answers(lost)
        if answers:
            _gate(lost, "paused")
            self.say(f"{lost.name}: its old database takes no more writes")
        try:
            done = self._fill(backup, shard)
            self._catch_up(done, mark=True)
        except BaseException:
            _drop(shard)
            if answers:
                _gate(lost, "active")
            raise
        if answers:
            _gate(lost, "out")
        done.shard = self._put_in_place(lost, shard, stamp)
        for access in list_access(catalogue):
            if access.shard == lost.name:
                carry_access(catalogue, access.business, done.shard)
        self.say(f"{lost.name} is {done.shard.database} on {done.shard.instance}")
        return done

    def test(self, backup: Backup) -> Tested:
        """Restore a backup into a database that is dropped afterwards: every row counted, the blocks since loaded
        again, models built, each business compared with its receipts. The result is kept beside the backup.

        Raises:
            LarderError: what the backup lacks; that is kept too.
        """
        began = time.monotonic()
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"
        shard = self._new(backup, backup.of, backup.instance, f"larder_restore_test_{stamp}")
        done = Restored(shard, backup.name)
        try:
            done = self._fill(backup, shard, done)
            self._catch_up(done, mark=False)
        except LarderError as error:
            self._note(backup, done, began, error.cause)
            raise
        finally:
            _drop(shard)
        return self._note(backup, done, began, "")

    def _note(self, backup: Backup, done: Restored, began: float, wrong: str) -> Tested:
        seconds = round(time.monotonic() - began, 3)
        tested = Tested(
            datetime.now(UTC), not wrong, seconds, done.rows, done.lost, len(done.reconciled), wrong or "equal"
        )
        note_test(vault_of(self.settings), backup, tested)
        return tested

    def _new(self, backup: Backup, name: str, instance: str, database: str) -> Shard:
        """Where the backup goes: the shard as it will be, its database not made yet."""
        known = {server.name: server for server in self.at.catalogue.instances()}
        server = known.get(instance)
        if server is None or server.kind == "embedded":
            server = self.at.catalogue.add_instance(instances.start(instance, self.settings))
        password = self.at.catalogue.password(server)
        return Shard(name, instance, database, backup.namespace, server.host, server.port, server.username, password)

    def _fill(self, backup: Backup, shard: Shard, done: Restored | None = None) -> Restored:
        done = done or Restored(shard, backup.name)
        programs = binaries(self.settings)
        with work_folder("larder-restore-", self.settings.home / "work") as folder:
            with _step(done, "fetched"):
                dumped = fetch(vault_of(self.settings), backup, folder)
            with _step(done, "restored"):
                ensure_roles(shard)
                ensure_groups(shard.server_dsn, [*backup.content.roles, *backup.content.known["tenants"]])
                if not create_database(shard.server_dsn, shard.database):
                    raise LarderError(f"database {shard.database} exists", "you", "larder shard list")
                with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cursor:
                    open_database(cursor, shard.database)
                restore(shard.dsn, dumped, programs, self.settings.backup_jobs, backup.content)
        with _step(done, "counted"):
            done.rows = self._count(backup, shard)
        with _step(done, "settled"):
            if not migrate_shard(shard):
                arrange_rights(shard)
            with closing(connect(shard)) as conn:
                kept = settle_transactions(conn, shard, backup.content)
                done.settled = Settled(kept, (), (), 0)
                with conn, conn.cursor() as cursor:
                    cursor.execute("analyze")
        try:
            workspace.hold_again(shard, self.settings.home)
        except LarderError as error:  # the rows are back; what only the server's operator may do is said, and waits
            self.say(f"{shard.name}: {error.cause}; next: {error.next_command}")
        marks = "marks still hold" if kept else "another server: all models will be computed whole"
        self.say(f"{shard.name}: {done.rows:,} rows restored and counted; {marks}")
        return done

    def _count(self, backup: Backup, shard: Shard) -> int:
        with closing(connect(shard)) as conn:
            found = counts(conn, backup.part)
        held = backup.content.tables
        wrong = [name for name in held.keys() | found.keys() if held.get(name) != found.get(name)]
        if wrong:
            one = min(wrong)
            raise LarderError(
                f"{len(wrong)} tables of {backup.name} are not as they were: {one} has {found.get(one)} rows instead of"
                f" {held.get(one)}",
                "us",
                "larder backup list",
            )
        return sum(found.values())

    def _catch_up(self, done: Restored, *, mark: bool) -> None:
        """Bring the restored shard to today. `mark`: it is to be the shard, so the index says so too."""
        catalogue, shard = self.at.catalogue, done.shard
        businesses = [business for business in catalogue.businesses() if business.shard == shard.name]
        sources = [source for source in catalogue.sources() if source.shard == shard.name]
        with _step(done, "settled"), closing(connect(shard)) as conn:
            settled = settle_businesses(conn, shard, businesses, sources, lambda s: build_shard(self.at, s))
            assert done.settled is not None
            done.settled = replace(settled, marks_kept=done.settled.marks_kept)
        with _step(done, "caught up"), closing(index.connect(catalogue.dsn)) as control:
            lost = recovery.lost_loads(control, shard.as_role(LOADER).dsn, shard.schemas, [s.id for s in sources])
            done.lost, done.records = len(lost), sum(manifest.records for manifest in lost)
            recovery.load_again(
                control if mark else None, shard.as_role(LOADER).dsn, shard.schemas, lost, self.at.store, discover()
            )
        with _step(done, "built"):
            build_shard(self.at, shard)
        self.say(
            f"{shard.name}: {done.lost} blocks with {done.records:,} records loaded since the backup, loaded again"
        )
        with _step(done, "reconciled"):
            done.reconciled = tuple(self._reconciled(shard, businesses))

    def _reconciled(self, shard: Shard, businesses: Sequence[Business]) -> Iterator[str]:
        for business in businesses:
            found = _of_what_is_loaded((self.compare or equals_receipts)(self.at, shard, business))
            if not found.equal:
                said = "; ".join(differences(found)[:3])
                raise LarderError(
                    f"{business.name} on the restored {shard.name} differs from its receipts: {said}", "data",
                    f"larder reconcile --business {business.name}",
                )  # fmt: skip
            yield business.name

    def _put_in_place(self, lost: Shard, shard: Shard, stamp: str) -> Shard:
        """The restored database gets the old one's name, in one transaction; where other shards are in the old one, or
        another server has one of that name, the catalogue names the new one instead."""
        catalogue = self.at.catalogue
        alone = not shares(lost, catalogue.shards())
        name = lost.database if alone and _rename(shard, lost, stamp) else shard.database
        with catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.shards set instance = %s, database = %s where shard = %s",
                (shard.instance, name, lost.name),
            )
        return catalogue.shard(lost.name)


def equals_receipts(at: Installation, shard: Shard, business: Business) -> Reconciliation:
    """Compare a business on a shard with the blocks."""
    sources = at.catalogue.sources(business.id)
    copies = at.store.remote.url if at.store.remote else ""
    return reconcile(business.name, sources, shard.as_role(INSPECTOR), at.store.url, at.clock(), copies)


def _of_what_is_loaded(found: Reconciliation) -> Reconciliation:
    """Without blocks that nobody had loaded when the shard caught up: those are the next load's."""
    sources = [
        replace(source, ledger=[problem for problem in source.ledger if problem.problem != NOT_LOADED])
        for source in found.sources
    ]
    return replace(found, sources=sources)


def _gate(shard: Shard, state: str) -> None:
    with closing(connect(shard)) as conn:
        close(conn, shard, state)


@contextmanager
def _step(done: Restored, name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    done.seconds[name] = round(done.seconds.get(name, 0) + time.monotonic() - began, 3)


def _answers(shard: Shard) -> bool:
    try:
        connect(shard).close()
    except psycopg2.OperationalError:
        return False
    return True


def _rename(shard: Shard, lost: Shard, stamp: str) -> bool:
    """Give the restored database the lost one's name. False: another database of that server has it."""
    with closing(psycopg2.connect(shard.server_dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("select exists (select from pg_database where datname = %s)", (lost.database,))
        taken = cursor.fetchone() == (True,)
        if taken and shard.instance != lost.instance:
            return False
        cursor.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = any(%s)",
            ([shard.database, lost.database],),
        )
        names = [(lost.database, f"{lost.database[:40]}_replaced_{stamp}")] if taken else []
        for old, new in [*names, (shard.database, lost.database)]:
            cursor.execute(sql.SQL("alter database {} rename to {}").format(*map(sql.Identifier, (old, new))))
    return True


def _drop(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.server_dsn)) as conn:
        conn.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(shard.database)))
