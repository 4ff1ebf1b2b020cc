"""The role that administers a server is no superuser: on somebody else's server, and on one of an earlier version."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from sharding import bootstrap, instances
from sharding.access.tenants import grant_access, open_session, revoke_access
from sharding.backup import dump
from sharding.backup.shards import known_of, part_of
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.migrate import MIGRATIONS, migrate_control, migrate_shard
from sharding.migrating.health import require_healthy
from sharding.model import Instance, Shard, postgres_url
from sharding.postgres import binaries
from sharding.provision import CONTROL_DATABASE, create_database, provision_control, provision_shard
from sharding.settings import Settings
from tests.conftest import UNSAFE_BUT_QUICK, scratch

DOCS = Path(__file__).parents[3] / "docs" / "access.md"
SUPERUSER = "larder"


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A home whose servers are stopped and gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    made = Settings(home=home, control_dsn=None)
    yield made
    for name in instances.known(made):
        instances.remove(name, made)
    shutil.rmtree(home)


def run(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def as_initdb_made_it(name: str, settings: Settings) -> Instance:
    """Take everything off a new server that Larder made for itself there: the superuser, with the instance's password,
    is alone. Returns the instance as earlier versions knew it."""
    record = instances.record_of(name, settings)
    server = bootstrap.Server(name, instances.HOST, record.port, settings.home)
    for database in ("template1", "postgres"):
        run(server.dsn(database), "reassign owned by larder_admin to larder")
        run(server.dsn(database), "drop owned by larder_admin, larder_all_rows, larder_owner")
        run(server.dsn("postgres"), f"grant connect, temporary on database {database} to public")
    run(server.dsn("postgres"), "drop role larder_admin, larder_all_rows, larder_owner")
    run(server.dsn("template1"), "grant execute on all functions in schema pg_catalog to public")
    password = instances.secret_path(name, settings).read_text()
    run(server.dsn("postgres"), f"alter role larder password '{password}'")
    bootstrap.superuser_secret(name, settings.home).unlink()
    told = {"name": name, "port": record.port, "data": record.data, "username": SUPERUSER}
    (settings.home / "instances" / f"{name}.json").write_text(json.dumps(told))
    return instances.as_instance(instances.record_of(name, settings))


def test_a_server_of_somebody_elses_says_what_its_superuser_has_to(settings: Settings) -> None:
    """And when that was said, whoever may make roles and databases can do all the rest."""
    at = instances.start("theirs", settings, UNSAFE_BUT_QUICK)
    theirs = instances.instance_dsn(as_initdb_made_it("theirs", settings), "postgres", settings.home)
    run(theirs, "create role dba_made login createdb createrole password 'drawn'")
    shard = Shard("shard_1", "theirs", "larder_shard_1", "", at.host, at.port, "dba_made", "drawn")
    with pytest.raises(LarderError, match="A superuser there has to say once") as first:
        provision_shard(shard)
    assert run(theirs, "select count(*) from pg_roles where rolname like 'larder\\_%'") == [(0,)]
    said = shlex.split(first.value.next_command, comments=True)
    needed = said[said.index("-c") + 1].split("; ")
    documented = re.search(r"```sql\n(create role larder_admin.*?)```", DOCS.read_text(), re.DOTALL)
    assert documented is not None
    statements = documented[1].replace("\n", " ").replace("larder_admin", "dba_made")
    assert [one for one in needed if one not in statements] == []
    for statement in documented[1].replace("larder_admin", "dba_made").split(";\n")[1:]:
        if statement.strip():
            run(theirs, statement)
    assert provision_shard(shard)[-1] >= "0017" and provision_shard(shard) == []
    assert provision_shard(replace(shard, name="shard_2", namespace="two"))
    require_healthy(shard)
    create_database(shard.server_dsn, CONTROL_DATABASE)
    control = postgres_url("dba_made", "drawn", at.host, at.port, CONTROL_DATABASE)
    migrate_control(control)
    catalogue = Catalogue(control, settings.home)
    (settings.home / "secrets" / "dba").write_text("drawn")
    catalogue.add_instance(Instance("theirs", "external", at.host, at.port, "dba_made", "file:secrets/dba"))
    catalogue.add_shard("shard_1", "theirs", shard.database)
    catalogue.add_business("cafe", "Cafe", "shard_1")
    role = grant_access(catalogue, "cafe", raw=True).role
    with closing(open_session(catalogue, "cafe")) as session, session.cursor() as cursor:
        cursor.execute("select count(*) from raw.head")
        assert cursor.fetchall() == [(0,)]

    # A backup is made and filled into another database, with owners and rights, by the same role.
    part, programs = part_of(shard, []), binaries(settings)
    with dump.at_one_moment(shard.dsn) as (conn, snapshot):
        content = dump.content(conn, "keys", part, known_of(conn, shard))
        dump.dump(shard.dsn, settings.home / "dumped", programs, snapshot, part, 2)
    copy = replace(shard, name="copy", database="copy")
    create_database(copy.server_dsn, "copy")
    dump.restore(copy.dsn, settings.home / "dumped", programs, 2, content)
    with dump.at_one_moment(copy.dsn) as (conn, _):
        again = dump.content(conn, "keys", part, known_of(conn, shard))
    assert (again.tables, again.owners, again.roles) == (content.tables, content.owners, content.roles)
    assert {owner for _, _, owner, _ in content.owners} == {"larder_owner", "larder_transformer"}
    require_healthy(copy)

    assert revoke_access(catalogue, "cafe")
    assert run(theirs, f"select count(*) from pg_roles where rolname = '{role}'") == [(0,)]
    assert run(
        shard.dsn, "select current_user::text, rolsuper or rolbypassrls from pg_roles where rolname = current_user"
    ) == [("dba_made", False)]


def test_a_server_of_an_earlier_version_gets_its_administrator(settings: Settings, tmp_path: Path) -> None:
    """There the superuser did everything. Its password and the administrator's are two from then on."""
    instances.start("one", settings, UNSAFE_BUT_QUICK)
    at = as_initdb_made_it("one", settings)
    theirs = instances.instance_dsn(at, "postgres", settings.home)
    provision_control(at, settings)
    password = instances.secret_path("one", settings).read_text()
    shard = Shard("shard_1", "one", "larder_shard_1", "", at.host, at.port, at.username, password)
    shutil.copytree(MIGRATIONS, tmp_path / "before")
    for path in (tmp_path / "before" / "shard").glob("*.sql"):
        if path.name >= "0017":
            path.unlink()
    provision_shard(shard, tmp_path / "before")
    run(shard.dsn, "create table marts.made_by_hand as select 1 as n")

    again = instances.start("one", settings, UNSAFE_BUT_QUICK)
    assert (at.username, again.username, again.port) == ("larder", "larder_admin", at.port)
    shard = replace(shard, username=again.username)
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(theirs)
    assert migrate_shard(shard) and provision_shard(shard) == []
    assert provision_control(again, settings)
    require_healthy(shard)
    query = "select count(*) from pg_class where relowner = 'larder'::regrole and oid >= 16384"
    assert run(shard.dsn, query) == [(0,)]
    assert run(shard.dsn, "drop table marts.made_by_hand") == []
    edition = instances.record_of("one", settings).prepared
    assert edition and instances.start("one", settings, UNSAFE_BUT_QUICK) == again


def test_the_superusers_password_is_in_no_other_file(settings: Settings) -> None:
    at = instances.start("one", settings, UNSAFE_BUT_QUICK)
    secret = bootstrap.superuser_secret("one", settings.home)
    assert secret.read_text() != instances.secret_path("one", settings).read_text()
    assert secret.stat().st_mode & 0o777 == 0o600
    dsn = instances.instance_dsn(at, "postgres", settings.home)
    assert run(dsn, "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user") == [
        (False, True, True)
    ]
    for statement in ("alter role larder password 'x'", "set role larder", "alter role current_user superuser"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(dsn, statement)
