"""Read roles of businesses: a BI tool's or an enterprise's own way to its rows, and to nobody else's.

The control database names each business's role; a shard's {keys}.tenant says whose rows the role sees. A role lives on
the server where its business does and follows it when it moves, name and password unchanged.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.access import workspace
from sharding.access.roles import TENANT, TENANT_RAW, altering_roles, join, set_password
from sharding.catalogue import Catalogue
from sharding.credentials import password_of, read_secret, write_secret
from sharding.errors import LarderError
from sharding.model import Business, Shard, postgres_url

SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "5s",
}
"""What a session of such a role begins with. The role may set these itself; `HARD` and the connections it may not."""
HARD = {"temp_file_limit": "1GB"}
CONNECTIONS = 10


@dataclass(frozen=True)
class Access:
    """A business's role. `url` has no password in it; `secret_ref` says where that is."""

    business: str
    shard: str
    role: str
    secret_ref: str
    reads_raw: bool
    workspace_bytes: int | None
    url: str


@dataclass(frozen=True)
class _Record:
    business: int
    role: str
    secret_ref: str
    reads_raw: bool
    workspace_bytes: int | None


def grant_access(
    catalogue: Catalogue,
    business: str | int,
    raw: bool = False,
    workspace_bytes: int | None = None,
    secret_ref: str | None = None,
) -> Access:
    """Give a business its read role, or change what it may read. Safe to repeat: the role and its password stay.

    Args:
        raw: it reads its vendors' records too.
        workspace_bytes: it gets a schema to write in, of at most so many bytes. Its instance has to be its own.
        secret_ref: `env:NAME` or `file:PATH` of its password; default: one drawn for this home.

    Raises:
        LarderError: turn `you`: a workspace on an instance that is shared.
    """
    owner = catalogue.business(business)
    if workspace_bytes is not None:
        workspace.require_own_instance(catalogue, owner)
    known = _record(catalogue, owner.id)
    role = known.role if known else f"t_{secrets.token_hex(8)}"
    ref = secret_ref or (known.secret_ref if known else f"file:secrets/{role}.password")
    _password(catalogue, ref)
    record = _Record(owner.id, role, ref, raw, workspace_bytes)
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            insert into control.access (business, role, secret_ref, reads_raw, workspace_bytes)
            values (%s, %s, %s, %s, %s)
            on conflict (business) do update set secret_ref = excluded.secret_ref, reads_raw = excluded.reads_raw,
                workspace_bytes = excluded.workspace_bytes
            """,
            (owner.id, role, ref, raw, workspace_bytes),
        )
    shard = catalogue.shard(owner.shard)
    _make(catalogue, shard, record)
    return _access(catalogue, owner, record)


def revoke_access(catalogue: Catalogue, business: str | int) -> bool:
    """End a business's access: its sessions, its role, its rights. A workspace goes with what is in it. False if it had
    none."""
    owner = catalogue.business(business)
    record = _record(catalogue, owner.id)
    if record is None:
        return False
    drop_roles(catalogue.shard(owner.shard), owner.id)
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute("delete from control.access where business = %s", (owner.id,))
    if record.secret_ref == f"file:secrets/{record.role}.password":
        (catalogue.home / "secrets" / f"{record.role}.password").unlink(missing_ok=True)
    return True


def rotate_access(catalogue: Catalogue, business: str | int, secret_ref: str | None = None) -> Access:
    """A new password for a business's role: drawn anew, or the one that a reference names now.

    Raises:
        LarderError: turn `you`: it has no role, or its password is not ours to draw.
    """
    owner = catalogue.business(business)
    record = _record(catalogue, owner.id)
    if record is None:
        raise LarderError(f"{owner.name} has no role", "you", f"larder access grant {owner.name}")
    ref = secret_ref or record.secret_ref
    if ref == f"file:secrets/{record.role}.password":
        write_secret(catalogue.home / "secrets" / f"{record.role}.password", secrets.token_urlsafe(24))
    password = _password(catalogue, ref)
    shard = catalogue.shard(owner.shard)
    with altering_roles(shard) as cursor:
        set_password(cursor, record.role, password)
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "update control.access set secret_ref = %s, rotated_at = clock_timestamp() where business = %s",
            (ref, owner.id),
        )
    return _access(catalogue, owner, _Record(owner.id, record.role, ref, record.reads_raw, record.workspace_bytes))


def list_access(catalogue: Catalogue) -> list[Access]:
    """The roles of all businesses that have one."""
    businesses = {business.id: business for business in catalogue.businesses()}
    return [_access(catalogue, businesses[record.business], record) for record in _records(catalogue)]


def open_session(catalogue: Catalogue, business: str | int) -> Connection:
    """A session of a business's own role: what it sees is what the business sees.

    Raises:
        LarderError: turn `you`: it has no role.
    """
    owner = catalogue.business(business)
    record = _record(catalogue, owner.id)
    if record is None:
        raise LarderError(f"{owner.name} has no role of its own", "you", f"larder access grant {owner.name}")
    at = catalogue.shard(owner.shard)
    password = _password(catalogue, record.secret_ref)
    return psycopg2.connect(postgres_url(record.role, password, at.host, at.port, at.database), connect_timeout=10)


def carry_access(catalogue: Catalogue, business: str | int, target: str | Shard) -> str | None:
    """Make a moving business's role on the shard that it moves to, before the flip: nothing is seen through it there
    until the shard's route says that the business lives there. Safe to repeat. Returns the role; None if it has none.

    Raises:
        LarderError: turn `you`: the business has a workspace, and the target's instance is shared.
    """
    owner = catalogue.business(business)
    record = _record(catalogue, owner.id)
    if record is None:
        return None
    shard = catalogue.shard(target) if isinstance(target, str) else target
    if record.workspace_bytes is not None:
        workspace.require_own_instance(catalogue, owner, shard.instance)
    _make(catalogue, shard, record)
    return record.role


def leave_access(catalogue: Catalogue, business: str | int, left: str | Shard) -> None:
    """Drop a business's role on a shard where it no longer lives, after the move's clean-up. Safe to repeat; the role
    stays on a server that it shares with the shard where the business is."""
    owner = catalogue.business(business)
    shard = catalogue.shard(left) if isinstance(left, str) else left
    home, record = catalogue.shard(owner.shard), _record(catalogue, owner.id)
    same_server = (shard.host, shard.port) == (home.host, home.port)
    drop_roles(shard, owner.id, keep_login=same_server)
    if same_server and record is not None:
        _make(catalogue, home, record)  # `drop owned` takes rights on all databases of the server


def drop_roles(shard: Shard, business: int, keep_login: bool = False) -> None:
    """Take a business's role off a shard with all that it owns there: sessions, rights, workspace. Safe to repeat.

    Args:
        keep_login: only its rights on this shard: the business lives on another shard of the same server.
    """
    with _administering(shard) as cursor:
        cursor.execute(shard.render("delete from {keys}.tenant where business = %s returning role"), (business,))
        row = cursor.fetchone()
        if row is None:
            return
        role = str(row[0])
        if not keep_login:
            cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (role,))
        workspace.drop(cursor, shard, role)
        # Rights on databases are the server's; `drop owned` takes those of the database that it is run in.
        cursor.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
    if keep_login:
        return
    with altering_roles(shard) as cursor:
        cursor.execute("select from pg_roles where rolname = %s", (role,))
        if cursor.fetchone() is None:
            return
        cursor.execute(
            "select datname from pg_database as d where exists ("
            "select from aclexplode(d.datacl) as acl where acl.grantee = %s::regrole)",
            (role,),
        )
        for (database,) in cursor.fetchall():
            cursor.execute(
                sql.SQL("revoke all on database {} from {}").format(sql.Identifier(database), sql.Identifier(role))
            )
        cursor.execute(
            "select exists (select from pg_shdepend where refclassid = 'pg_authid'::regclass"
            " and refobjid = %s::regrole and dbid <> 0)",
            (role,),
        )
        if cursor.fetchone() == (True,):  # a copy of the shard has things of its; they are dropped there
            cursor.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(role)))
        else:
            cursor.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def _make(catalogue: Catalogue, shard: Shard, record: _Record) -> None:
    """The role on a shard's server, what it may connect to, and whose rows it sees."""
    role, group = sql.Identifier(record.role), TENANT_RAW if record.reads_raw else TENANT
    with altering_roles(shard) as cursor:
        cursor.execute("select 1 from pg_roles where rolname = %s", (record.role,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("create role {} nologin").format(role))
        join(cursor, record.role)  # it ends its sessions, backs up what it makes, and drops it
        set_password(cursor, record.role, _password(catalogue, record.secret_ref))
        cursor.execute(sql.SQL("alter role {} connection limit {}").format(role, sql.Literal(CONNECTIONS)))
        settings = SETTINGS if record.workspace_bytes is None else workspace.writable(SETTINGS)
        cursor.execute(
            "select array(select name from unnest(%s) as name where has_parameter_privilege(name, 'set'))",
            (list(HARD),),
        )
        [(may_set,)] = cursor.fetchall()
        for name, value in {**settings, **{name: HARD[name] for name in may_set}}.items():
            cursor.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(name), sql.Literal(value)))
        for other in {TENANT, TENANT_RAW} - {group}:
            cursor.execute(sql.SQL("revoke {} from {}").format(sql.Identifier(other), role))
        cursor.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), role))
        cursor.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(shard.database), role))
    if record.workspace_bytes is not None:
        workspace.ensure_trigger(shard, catalogue.home)
    with _administering(shard) as cursor:
        cursor.execute(
            shard.render("""
            insert into {keys}.tenant (role, business, reads_raw) values (%s, %s, %s)
            on conflict (role) do update set reads_raw = excluded.reads_raw
            """),
            (record.role, record.business, record.reads_raw),
        )
        _open_custom(cursor, shard, record)
        if record.workspace_bytes is not None:
            workspace.make(cursor, shard, record.role, record.workspace_bytes)


def _open_custom(cursor: Cursor, shard: Shard, record: _Record) -> None:
    """The business's views of tables of its own; those that come later are opened when they are made."""
    cursor.execute(shard.render("select {keys}.open_custom(%s)"), (record.business,))


@contextmanager
def _administering(shard: Shard) -> Iterator[Cursor]:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _password(catalogue: Catalogue, ref: str) -> str:
    kind, _, name = ref.partition(":")
    if kind == "file" and name.startswith("secrets/t_"):
        return password_of(catalogue.home / name)
    return read_secret(ref, catalogue.home)


def _records(catalogue: Catalogue) -> list[_Record]:
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select business, role, secret_ref, reads_raw, workspace_bytes from control.access order by business"
        )
        return [_Record(*row) for row in cursor.fetchall()]


def _record(catalogue: Catalogue, business: int) -> _Record | None:
    return next((record for record in _records(catalogue) if record.business == business), None)


def _access(catalogue: Catalogue, owner: Business, record: _Record) -> Access:
    shard = catalogue.shard(owner.shard)
    url = postgres_url(record.role, "", shard.host, shard.port, shard.database)
    return Access(owner.name, shard.name, record.role, record.secret_ref, record.reads_raw, record.workspace_bytes, url)
