"""Bring an installation up, and down again: embedded instances, control database, the first two shards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from sharding import instances
from sharding.access.roles import READER
from sharding.catalogue import Catalogue
from sharding.credentials import password_of
from sharding.dbt_profiles import write_profiles
from sharding.errors import LarderError
from sharding.instances import instance_dsn
from sharding.migrate import migrate_control, require_control
from sharding.migrating import fleet
from sharding.model import Shard
from sharding.provision import CONTROL_DATABASE, allow_reader_login, provision_control, provision_shard
from sharding.settings import Settings

CONTROL = "control"
FIRST_SHARDS = {
    "pg_1": ("shard_1", "larder_shard_1"),
    "pg_2": ("shard_2", "larder_shard_2"),
}
"""Embedded instances of a new installation, each with its shard and database."""

Say = Callable[[str], None]


def up(settings: Settings, say: Say = lambda line: None) -> Catalogue:
    """Start what is not running, migrate what is behind, and return the catalogue. Safe to repeat.

    With `LARDER_CONTROL_DSN` only that database is migrated and the embedded instances it names are started: a
    catalogue that somebody else provisioned gets no shards added.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    if settings.control_dsn is not None:
        dsn = settings.control_dsn.get_secret_value()
        applied = migrate_control(dsn)
        say(f"control database: {'migrated ' + ', '.join(applied) if applied else 'at the newest version'}")
        catalogue = Catalogue(dsn, settings.home)
        here = set(instances.known(settings))
        wanted = [i.name for i in catalogue.instances() if i.kind == "embedded" and i.name in here]
    else:
        wanted = [CONTROL, *FIRST_SHARDS]
        wanted += [name for name in instances.known(settings) if name not in wanted]
    _start(wanted, settings, say)
    if settings.control_dsn is None:
        dsn = provision_control(instances.start(CONTROL, settings), settings)
        catalogue = Catalogue(dsn, settings.home)
    for name in wanted:
        if name != CONTROL:
            catalogue.add_instance(instances.as_instance(instances.record_of(name, settings)))
    if settings.control_dsn is None:
        present = {shard.name for shard in catalogue.shards()}
        for instance, (shard, database) in FIRST_SHARDS.items():
            if shard not in present:
                catalogue.add_shard(shard, instance, database)
    failed = _migrate(catalogue, say)
    good = [shard for shard in catalogue.shards() if shard.name not in failed]
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda shard: _provision(shard, settings, say), good))
    write_profiles(catalogue.shards(), settings.home)
    if failed:
        raise next(iter(failed.values()))
    return catalogue


def down(settings: Settings, say: Say = lambda line: None) -> list[str]:
    """Stop the embedded instances of this home, the control database last; returns the names of those that ran."""
    names = sorted(instances.known(settings), key=lambda name: name == CONTROL)
    stopped = []
    for name in names:
        if instances.stop(name, settings):
            say(f"{name}: stopped")
            stopped.append(name)
    return stopped


def control_dsn(settings: Settings) -> str:
    """DSN of the control database: the configured one, or the embedded one's.

    Raises:
        LarderError: turn `you`: nothing has been started yet.
    """
    if settings.control_dsn is not None:
        return settings.control_dsn.get_secret_value()
    if instances.status(CONTROL, settings).state != "running":
        raise LarderError(f"the databases of {settings.home} are not running", "you", "larder up")
    return instance_dsn(instances.as_instance(instances.record_of(CONTROL, settings)), CONTROL_DATABASE, settings.home)


def open_catalogue(settings: Settings) -> Catalogue:
    """The catalogue of a running installation.

    Raises:
        LarderError: turn `you` where it is not running, `config` where the control database cannot be reached.
    """
    catalogue = Catalogue(control_dsn(settings), settings.home)
    try:
        catalogue.shards()
        require_control(catalogue.dsn)
    except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable) as error:
        reason = str(error).strip().splitlines()[0]
        raise LarderError(f"the control database does not answer: {reason}", "config", "larder up") from error
    return catalogue


def _start(names: list[str], settings: Settings, say: Say) -> None:
    def one(name: str) -> None:
        before = instances.status(name, settings).state
        instance = instances.start(name, settings)
        word = {"absent": "made and started", "stopped": "started", "running": "running"}[before]
        say(f"{name}: {word} on {instance.host}:{instance.port}")

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(one, names))


def _migrate(catalogue: Catalogue, say: Say) -> dict[str, LarderError]:
    """Bring the shards that have a schema to the newest version, one of them first. Returns those that stayed behind,
    with the error to end with; the others are brought up all the same."""
    standing = {one.shard: one for one in fleet.plan(catalogue.shards())}
    there = [shard for shard in catalogue.shards() if standing[shard.name].at is not None]
    try:
        outcomes = fleet.migrate(catalogue, there, say=say)
    except fleet.CanaryError as error:
        return {name: error for name, one in standing.items() if one.behind}
    failure = fleet.refused(outcomes)
    return {outcome.shard: failure for outcome in outcomes if failure and not outcome.good}


def _provision(shard: Shard, settings: Settings, say: Say) -> None:
    applied = provision_shard(shard)
    if shard.instance in instances.known(settings):
        allow_reader_login(shard, password_of(settings.secrets_dir / f"{shard.instance}.{READER}.password"))
    if applied:
        say(f"{shard.name}: schema version {applied[-1]}")
