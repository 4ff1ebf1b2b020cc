"""Roles of businesses: given, changed, taken; carried along by a move; a schema to write in with a quota."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from sharding.access import tenants
from sharding.access.tenants import Access
from sharding.catalogue import Catalogue
from sharding.credentials import read_secret
from sharding.errors import LarderError
from sharding.model import Shard, postgres_url
from tests.conftest import Server


def session(catalogue: Catalogue, access: Access, shard: Shard | None = None) -> Connection:
    at = shard or catalogue.shard(access.shard)
    password = read_secret(access.secret_ref, catalogue.home)
    return psycopg2.connect(postgres_url(access.role, password, at.host, at.port, at.database))


def test_a_role_is_given_changed_and_taken(catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    first = tenants.grant_access(catalogue, "cafe")
    assert "cafe" not in first.role and first.url.startswith(f"postgresql://{first.role}@")
    second = tenants.grant_access(catalogue, "cafe", raw=True)
    assert (second.role, second.secret_ref, second.reads_raw) == (first.role, first.secret_ref, True)
    with closing(session(catalogue, second)) as open_, open_.cursor() as cursor:
        cursor.execute("select count(*) from raw.head")
        old = read_secret(first.secret_ref, catalogue.home)
        rotated = tenants.rotate_access(catalogue, "cafe")
        assert read_secret(rotated.secret_ref, catalogue.home) != old
        closing(session(catalogue, rotated)).__exit__(None, None, None)
        assert [access.role for access in tenants.list_access(catalogue)] == [first.role]
        assert tenants.revoke_access(catalogue, "cafe") and not tenants.revoke_access(catalogue, "cafe")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("select 1")  # its session was ended
    assert tenants.list_access(catalogue) == []


def test_a_role_follows_its_business(register: Callable[[Shard], Catalogue], make_shard: Callable[..., Shard]) -> None:
    """On the new shard it sees nothing until the route says so, on the old one nothing from then on."""
    old, new = make_shard("old"), make_shard("new")
    register(old)
    catalogue = register(new)
    business = catalogue.add_business("cafe", "Cafe", "old").id
    access = tenants.grant_access(catalogue, "cafe", raw=True)
    for shard, state in ((old, "active"), (new, "arriving")):
        with closing(psycopg2.connect(shard.dsn)) as admin, admin, admin.cursor() as cursor:
            cursor.execute(
                "insert into keys.route (business, name, display_name, state) values (%s, 'cafe', 'Cafe', %s)"
                " on conflict do nothing",
                (business, state),
            )
            cursor.execute(
                "insert into raw.head select keys.make_id(%s, 1), 's', 'k', keys.make_id(%s, 2), gen_random_uuid(),"
                " now(), now(), gen_random_uuid(), 1, 1, now()",
                (business, business),
            )

    def heads(shard: Shard) -> int:
        with closing(session(catalogue, access, shard)) as connection, connection.cursor() as cursor:
            cursor.execute("select count(*) from raw.head")
            [(count,)] = cursor.fetchall()
            return int(count)

    assert tenants.carry_access(catalogue, "cafe", "new") == access.role
    assert (heads(old), heads(new)) == (1, 0)
    for shard, state in ((old, "out"), (new, "active")):
        with closing(psycopg2.connect(shard.dsn)) as admin, admin, admin.cursor() as cursor:
            cursor.execute("update keys.route set state = %s", (state,))
    with catalogue.connect() as control, control.cursor() as cursor:
        cursor.execute("update control.businesses set shard = 'new'")
    assert (heads(old), heads(new)) == (0, 1)
    tenants.leave_access(catalogue, "cafe", "old")
    assert heads(new) == 1
    with closing(psycopg2.connect(old.dsn)) as admin, admin, admin.cursor() as cursor:
        cursor.execute("select * from keys.tenant")
        assert cursor.fetchall() == []
    tenants.revoke_access(catalogue, "cafe")


def test_a_workspace_holds_its_quota(catalogue: Catalogue, server: Server, shard: Shard) -> None:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    with pytest.raises(LarderError, match="A superuser there has to say once") as first:
        tenants.grant_access(catalogue, "cafe", workspace_bytes=2**20)
    said = shlex.split(first.value.next_command, comments=True)
    for statement in said[said.index("-c") + 1].split(";"):
        server.execute(statement, shard.database, as_superuser=True)
    access = tenants.grant_access(catalogue, "cafe", workspace_bytes=2**20)
    with closing(session(catalogue, access)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("create table workspace.notes (note text)")
            cursor.execute("insert into workspace.notes select 'mine' from generate_series(1, 100)")
            too_much = "select repeat('x', 500) as note from generate_series(1, 5000)"
            for statement in (
                f"insert into workspace.notes {too_much}",
                f"create table workspace.more as {too_much}",
                f"create materialized view workspace.seen as {too_much}",
            ):
                with pytest.raises(psycopg2.errors.DiskFull):
                    cursor.execute(statement)
            cursor.execute("truncate workspace.notes")
            cursor.execute("drop trigger hold_quota on workspace.notes")
            cursor.execute("alter table workspace.notes disable trigger all")
            with pytest.raises(psycopg2.errors.DiskFull):
                cursor.execute(f"insert into workspace.notes {too_much}")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("create table public.elsewhere (a int)")
            with pytest.raises(psycopg2.errors.FeatureNotSupported, match="no backup"):
                cursor.execute("alter table workspace.notes force row level security")
    tenants.revoke_access(catalogue, "cafe")


def test_a_workspace_needs_an_instance_of_its_own(catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Cafe", "shard_1")
    catalogue.add_business("bar", "Bar", "shard_1")
    with pytest.raises(LarderError, match="shares"):
        tenants.grant_access(catalogue, "cafe", workspace_bytes=2**20)
    assert tenants.list_access(catalogue) == []
