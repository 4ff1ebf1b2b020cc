"""The control database out of a backup: what came since is told by the shards, the blocks' manifests and the written
confirmations of erasures."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from ingestion.blocks import BlockStore
from ingestion.reindex import rebuild_index
from ingestion.work_folder import work_folder
from orchestration.backups import Backup, Say, fetch, vault_of
from sharding import instances
from sharding.access.roles import close_database
from sharding.backup.control import Told, register
from sharding.backup.dump import counts, ensure_groups, restore
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.migrate import migrate_control
from sharding.postgres import binaries
from sharding.provision import CONTROL_DATABASE, create_database
from sharding.settings import Settings
from sharding.up import CONTROL


def restore_control(settings: Settings, backup: Backup, say: Say = lambda text: None) -> list[Told]:
    """Put a restored control database in the place of the one that was lost, which is kept aside if it is still there.

    Returns what the backup did not know, with what is left to do.

    Raises:
        LarderError: turn `us`: it could not be restored; the old one is where it was.
    """
    if settings.control_dsn is None and instances.forget_lost(CONTROL, settings):
        say("the data of its instance are gone: it is made anew")
    dsn = _dsn(settings)
    name, stamp = str(parse_dsn(dsn)["dbname"]), f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    fresh = f"{name[:40]}_restored_{stamp}"
    server, there = make_dsn(dsn, dbname="postgres"), make_dsn(dsn, dbname=fresh)
    with work_folder("larder-restore-", settings.home / "work") as folder:
        dumped = fetch(vault_of(settings), backup, folder)
        ensure_groups(server, backup.content.roles)
        create_database(server, fresh)
        restore(there, dumped, binaries(settings), settings.backup_jobs, backup.content)
    with closing(psycopg2.connect(there)) as conn:
        found = counts(conn, backup.part)
    if found != backup.content.tables:
        raise LarderError(f"the tables of {backup.name} are not as they were", "us", "larder backup list")
    _swap(server, name, fresh, f"{name[:40]}_replaced_{stamp}")
    migrate_control(dsn)
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        close_database(cursor, name)
    say(f"control database: {sum(found.values()):,} rows restored and counted")
    return bring_up_to_date(settings, Catalogue(dsn, settings.home))


def bring_up_to_date(settings: Settings, catalogue: Catalogue) -> list[Told]:
    """Ask embedded instances, shards, confirmations and manifests what has happened since. Safe to repeat."""
    here = set(instances.known(settings))
    for known in catalogue.instances():  # an embedded one may have another port by now
        if known.kind == "embedded" and known.name in here:
            catalogue.add_instance(instances.start(known.name, settings))
    told = register(catalogue, settings.home)
    added = rebuild_index(catalogue.dsn, BlockStore(settings.block_store, settings.block_remote))
    return [*told, Told(f"{added} blocks came since; loads find which of them are in already", "larder load")]


def _dsn(settings: Settings) -> str:
    if settings.control_dsn is not None:
        return settings.control_dsn.get_secret_value()
    return instances.instance_dsn(instances.start(CONTROL, settings), CONTROL_DATABASE, settings.home)


def _swap(server: str, name: str, fresh: str, aside: str) -> None:
    with closing(psycopg2.connect(server)) as conn, conn, conn.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = any(%s)", ([name, fresh],)
        )
        cursor.execute("select exists (select from pg_database where datname = %s)", (name,))
        pairs = [(name, aside)] if cursor.fetchone() == (True,) else []
        for old, new in [*pairs, (fresh, name)]:
            cursor.execute(sql.SQL("alter database {} rename to {}").format(*map(sql.Identifier, (old, new))))
