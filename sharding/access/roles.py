"""The roles that Larder's own parts connect with: none is a superuser, each has what its part does and nothing else.

Roles belong to the whole server; what they may do on a shard is in shard_migrations/shard/0006_access.sql. Their
passwords follow from the administrator's, so that there is one secret an instance to keep and to rotate.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import encrypt_password

from sharding.errors import LarderError
from sharding.model import INSPECTOR, LOADER, MOVER, ROUTER, TRANSFORMER, Shard

OWNER = "larder_owner"
READER = "larder_reader"
ALL_ROWS = "larder_all_rows"
TENANT = "larder_tenant"
TENANT_RAW = "larder_tenant_raw"

LOGINS = (LOADER, TRANSFORMER, MOVER, ROUTER, INSPECTOR)
GROUPS = (OWNER, READER, ALL_ROWS, TENANT, TENANT_RAW)

_MEMBERS = (
    (ALL_ROWS, (*LOGINS, READER, OWNER)),  # row security shows them every business
    (OWNER, (MOVER,)),  # makes triggers and indexes
    (TRANSFORMER, (MOVER,)),
    ("pg_read_all_data", (INSPECTOR,)),
    ("pg_read_all_stats", (MOVER, INSPECTOR)),  # whom a flip would wait for
    (TENANT, (TENANT_RAW,)),
)
_ADMINISTERED = ("pg_read_all_data", "pg_read_all_stats", "pg_signal_backend")
"""Postgres' own roles that the administrator is in and, but for the last, puts Larder's parts in."""
_LOCK = 19452
_LOOK_WHO_HOLDS_IT = "50ms"
"""How soon a session that waits for a lock finds that an autovacuum holds it, and sends that away (Postgres'
`deadlock_timeout`, a second by default). Moves and migrations wait less than a second, as others wait behind them: they
would be refused for as long as the autovacuum of a large table takes, which may be hours."""


def ensure_roles(shard: Shard) -> None:
    """Make the roles on a shard's server, with their passwords and memberships. Safe to repeat.

    Raises:
        LarderError: turn `config`: the administrator may not, with what a superuser has to say first.
    """
    with altering_roles(shard) as cursor:
        _require_rights(cursor, shard)
        cursor.execute("select rolname from pg_roles where rolname = any(%s)", ([*LOGINS, *GROUPS],))
        there = {name for (name,) in cursor.fetchall()}
        for name in (*GROUPS, *LOGINS):
            if name not in there:
                cursor.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
        for name in LOGINS:
            set_password(cursor, name, shard.as_role(name).password)
        for name in (READER, INSPECTOR):
            cursor.execute(sql.SQL("alter role {} set default_transaction_read_only = on").format(sql.Identifier(name)))
        for group, members in _MEMBERS:
            _grant(cursor, group, members)
        for group in (*_ADMINISTERED, OWNER, TRANSFORMER, LOADER):
            join(cursor, group)
        cursor.execute("select has_parameter_privilege('session_replication_role', 'set with grant option')")
        if cursor.fetchone() == (True,):
            parameter = sql.SQL("grant set on parameter session_replication_role to {}")
            cursor.execute(parameter.format(sql.Identifier(MOVER)))
        cursor.execute("select has_parameter_privilege('deadlock_timeout', 'set')")
        if cursor.fetchone() == (True,):
            for role in (sql.Identifier(MOVER), sql.SQL("current_user")):
                setting = sql.SQL("alter role {} set deadlock_timeout = {}")
                cursor.execute(setting.format(role, sql.Literal(_LOOK_WHO_HOLDS_IT)))
        cursor.execute("select has_database_privilege('postgres', 'connect with grant option')")
        if cursor.fetchone() == (True,):  # on embedded servers it is closed; statistics of statements are there
            cursor.execute(sql.SQL("grant connect on database postgres to {}").format(sql.Identifier(INSPECTOR)))


def join(cursor: Cursor, role: str) -> None:
    """Put the administrator into a role that it made, or administers: it may then do what the role may, and give it
    things."""
    cursor.execute("select pg_has_role(%s, 'usage')", (role,))
    if cursor.fetchone() != (True,):
        cursor.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def open_database(cursor: Cursor, database: str) -> None:
    """Let Larder's own parts into a database, and nobody else who was not named."""
    names = {
        "database": sql.Identifier(database),
        "parts": sql.SQL(", ").join(map(sql.Identifier, (*LOGINS, OWNER))),
        "makers": sql.SQL(", ").join(map(sql.Identifier, (OWNER, LOADER, TRANSFORMER))),
        "reader": sql.Identifier(READER),
    }
    for statement in (
        "revoke connect, temporary on database {database} from public",
        "grant connect, temporary on database {database} to {parts}",
        "grant connect on database {database} to {reader}",
        "grant create on database {database} to {makers}",
    ):
        cursor.execute(sql.SQL(statement).format(**names))


def close_database(cursor: Cursor, database: str) -> None:
    """Let only its owner and superusers into a database: the control database, those that a server is born with."""
    cursor.execute(sql.SQL("revoke connect, temporary on database {} from public").format(sql.Identifier(database)))


def arrange(shard: Shard, lock_timeout: float = 0) -> None:
    """Owners and rights of everything on a shard, after migrations. Safe to repeat.

    Args:
        lock_timeout: seconds after which a table that others hold ends it (psycopg2.errors.LockNotAvailable); 0: never.
    """
    options = f"-c lock_timeout={int(lock_timeout * 1000)}"
    with closing(psycopg2.connect(shard.dsn, options=options)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select to_regprocedure(%s)", (f"{shard.schema('keys')}.arrange_access()",))
        if cursor.fetchone() == (None,):
            return  # an older version of the schema
        cursor.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(shard.render("select {keys}.arrange_access()"))
        statement = "alter default privileges for role {} in schema {} grant select on tables to {}"
        names = (TRANSFORMER, shard.schema("bi"), READER)
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def set_password(cursor: Cursor, role: str, password: str) -> None:
    """Let a role log in with a password. The server, and so its log, is given what verifies it and not the password."""
    connection: Connection = cursor.connection
    verifier = encrypt_password(password, role, connection, "scram-sha-256")
    cursor.execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(verifier)))


@contextmanager
def altering_roles(shard: Shard) -> Iterator[Cursor]:
    """A transaction that may alter roles. They belong to the whole server, and two sessions that alter one at once fail
    ("tuple concurrently updated"); an advisory lock belongs to a database, so all take it in the same one."""
    with closing(psycopg2.connect(shard.server_dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        yield cursor


def _grant(cursor: Cursor, group: str, members: tuple[str, ...]) -> None:
    cursor.execute(
        sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.SQL(", ").join(map(sql.Identifier, members)))
    )


def _require_rights(cursor: Cursor, shard: Shard) -> None:
    """Refuse an administrator that cannot make what the shard needs."""
    cursor.execute(
        """
        select quote_ident(current_user), rolsuper, rolcreaterole and rolcreatedb,
            current_setting('server_version_num')::int >= 160000,
            has_parameter_privilege('session_replication_role', 'set with grant option') or exists (
                select from pg_roles as mover
                where mover.rolname = %s and has_parameter_privilege(mover.oid, 'session_replication_role', 'set')),
            array(
                select rolname::text from pg_roles
                where rolname = any(%s) and not pg_has_role(oid, 'member with admin option') order by 1),
            (select quote_ident(datname) from pg_database where datname = %s and not pg_has_role(datdba, 'usage'))
        from pg_roles where rolname = current_user
        """,
        (MOVER, [*_ADMINISTERED, *LOGINS, *GROUPS], shard.database),
    )
    [(me, is_superuser, makes_roles, needs_option, replicates, not_administered, foreign)] = cursor.fetchall()
    if is_superuser:
        return
    needed = [] if makes_roles else [f"alter role {me} createdb createrole"]
    if needs_option and not_administered:
        needed.append(f"grant {', '.join(not_administered)} to {me} with admin option")
    if not replicates:
        needed.append(f"grant set on parameter session_replication_role to {me} with grant option")
    if foreign is not None:
        needed.append(f"alter database {foreign} owner to {me}")
    if needed:
        said = "; ".join(needed)
        raise LarderError(
            f"{me} cannot administer {shard.instance} yet. A superuser there has to say once: {said}",
            "config",
            f"psql -h {shard.host} -p {shard.port} -d postgres -c {shlex.quote(said)}   # as a superuser; then repeat",
        )
