"""What only a superuser can do on an embedded server, done once when it is made: the role that administers it, and what
that role must not be able to give itself.

The superuser is the one of initdb. Its password is in a file of its own, which nothing else than this module reads.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.access.roles import set_password
from sharding.credentials import password_of
from sharding.errors import LarderError
from sharding.model import postgres_url
from sharding.ownership import Owned, give, owned

SUPERUSER = "larder"
ADMINISTRATOR = "larder_admin"
WATCH = "larder_watch"
"""Schema of the statistics of statements, in the database `postgres`."""
_SERVER, _TEMPLATE = (Path(__file__).with_name(name) for name in ("bootstrap.sql", "bootstrap_template.sql"))


@dataclass(frozen=True)
class Server:
    """An embedded server that runs, and the home that it belongs to."""

    name: str
    host: str
    port: int
    home: Path

    def dsn(self, database: str) -> str:
        """`postgresql://…` of its superuser, password included."""
        password = password_of(superuser_secret(self.name, self.home))
        return postgres_url(SUPERUSER, password, self.host, self.port, database)


def superuser_secret(name: str, home: Path) -> Path:
    """Where the password of an embedded server's superuser is kept."""
    return home / "secrets" / f"{name}.superuser.password"


def edition(with_statistics: bool) -> str:
    """What `prepare` would do, in 16 digits: a server that was prepared by another edition is prepared again."""
    text = _SERVER.read_text() + _TEMPLATE.read_text() + str(with_statistics)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare(server: Server, administrators: str) -> None:
    """Make a server one that needs no superuser any more. Safe to repeat.

    Args:
        administrators: the administering role's password. On servers that earlier versions made it is the
            superuser's; that one gets another then, and the administrator what it owned.

    Raises:
        LarderError: turn `config`: the superuser's password is another.
    """
    with closing(_connect(server, administrators)) as conn, conn, conn.cursor() as cursor:
        cursor.execute(_SERVER.read_text())
        set_password(cursor, ADMINISTRATOR, administrators)
        set_password(cursor, SUPERUSER, password_of(superuser_secret(server.name, server.home)))
        _keep_statistics(cursor)
        cursor.execute("select datname from pg_database where datdba = %s::regrole and datallowconn", (ADMINISTRATOR,))
        databases = [name for (name,) in cursor.fetchall()]
    for database in databases:
        with closing(psycopg2.connect(server.dsn(database))) as conn, conn, conn.cursor() as cursor:
            mine = [one for one in owned(cursor) if one.owner == SUPERUSER]
            give(cursor, (Owned(one.kind, one.name, ADMINISTRATOR, one.schema) for one in mine))
    with closing(psycopg2.connect(server.dsn("template1"))) as conn, conn, conn.cursor() as cursor:
        cursor.execute(_TEMPLATE.read_text())


def _connect(server: Server, administrators: str) -> Connection:
    try:
        return psycopg2.connect(server.dsn("postgres"), connect_timeout=10)
    except psycopg2.OperationalError as error:
        if "authentication failed" not in str(error):
            raise
    dsn = postgres_url(SUPERUSER, administrators, server.host, server.port, "postgres")
    try:
        return psycopg2.connect(dsn, connect_timeout=10)
    except psycopg2.OperationalError as error:
        path = superuser_secret(server.name, server.home)
        cause = f"the password of {server.name}'s superuser is not the one in {path}: {str(error).strip()}"
        raise LarderError(cause, "config", f"ls -l {path}") from error


def _keep_statistics(cursor: Cursor) -> None:
    """The extension, where this server has it; the administrator says who reads it, and nobody resets it."""
    cursor.execute("select current_setting('pg_stat_statements.max', true) is not null")
    if cursor.fetchone() != (True,):
        return
    names = {"schema": sql.Identifier(WATCH), "admin": sql.Identifier(ADMINISTRATOR)}
    for statement in (
        "create schema if not exists {schema}",
        "alter schema {schema} owner to {admin}",
        "create extension if not exists pg_stat_statements schema {schema}",
        "revoke all on all tables in schema {schema} from public",
        "revoke all on all functions in schema {schema} from public",
        "grant select on all tables in schema {schema} to {admin} with grant option",
        "grant execute on function {schema}.pg_stat_statements(boolean) to {admin} with grant option",
    ):
        cursor.execute(sql.SQL(statement).format(**names))
