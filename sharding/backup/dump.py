"""One database as a folder of files, all of one moment, and what was in it then; and the way back.

`pg_dump` in its directory format: several tables at once, each compressed, and a shard can be restored by itself, on
another server and beside what is there. A base backup is of a whole server and needs the right to read all of it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, make_dsn, parse_dsn
from psycopg2.extensions import connection as Connection

from sharding.access.roles import join
from sharding.errors import LarderError
from sharding.ownership import Owned, give, owned
from sharding.postgres import PgBinaries


@dataclass(frozen=True)
class Content:
    """What a database held when it was dumped.

    Attributes:
        cluster: system identifier of its server: whose transaction ids these are.
        next_xid: no transaction that the dump speaks of has this id or a later one.
        revisions: migration → hash of its file.
        tables: `schema.table` → rows.
        roles: roles that own, or may read, something of it.
        known: what else there is to say of it.
        owners: (kind, name, owner, schema) of what is not the administrator's own.
    """

    server_version: int
    cluster: str
    next_xid: int
    revisions: dict[str, str]
    tables: dict[str, int]
    roles: tuple[str, ...]
    known: dict[str, Any] = field(default_factory=dict)
    owners: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True)
class Part:
    """Which schemas of a database are dumped: all but `without`, or `only` those. Both are Postgres' patterns."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@contextmanager
def at_one_moment(dsn: str) -> Iterator[tuple[Connection, str]]:
    """A read-only transaction and the name of its snapshot, which `pg_dump` can read at too.

    Raises:
        LarderError: turn `us`: the database does not answer.
    """
    try:
        connected = psycopg2.connect(dsn, application_name="larder backup", connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise LarderError(f"no backup: {' '.join(str(error).split())}", "us", "larder status") from error
    with closing(connected) as conn:
        conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        with conn.cursor() as cursor:
            cursor.execute("set local idle_in_transaction_session_timeout = 0; select pg_export_snapshot()")
            [(snapshot,)] = cursor.fetchall()
        yield conn, snapshot
        conn.rollback()


def content(conn: Connection, keys_schema: str, part: Part, known: dict[str, Any]) -> Content:
    """What the part of the database holds at the connection's snapshot. Each table is counted: a restore is compared
    with it."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select current_setting('server_version_num')::int, system_identifier::text,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint from pg_control_system()"
        )
        [(version, cluster, next_xid)] = cursor.fetchall()
        cursor.execute(sql.SQL("select revision, sha256 from {}.schema_history").format(sql.Identifier(keys_schema)))
        revisions = dict(cursor.fetchall())
        cursor.execute("select current_user::text")
        [(me,)] = cursor.fetchall()
        theirs = [one for one in owned(cursor) if one.owner != me and _is_in(one.schema, part)]
        owners = tuple((one.kind, one.name, one.owner, one.schema) for one in theirs)
        return Content(version, cluster, next_xid, revisions, counts(conn, part), _roles(conn), known, owners)


def counts(conn: Connection, part: Part) -> dict[str, int]:
    """Rows of each table of the part that outlives a crash."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^(pg_|information_schema$)'
            order by 1, 2
            """
        )
        tables = [(schema, table) for schema, table in cursor.fetchall() if _is_in(schema, part)]
        rows = {}
        for schema, table in tables:
            cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table)))
            [(rows[f"{schema}.{table}"],)] = cursor.fetchall()
    return rows


def dump(dsn: str, folder: Path, programs: PgBinaries, snapshot: str, part: Part, jobs: int) -> None:
    """Write the database's part, as it is at a snapshot, into a folder that does not exist yet."""
    schemas = [f"--schema={name}" for name in part.only] + [f"--exclude-schema={name}" for name in part.without]
    _run(
        programs, "pg_dump", dsn,
        ["--format=directory", f"--file={folder}", f"--jobs={jobs}", f"--snapshot={snapshot}", *schemas,
         "--no-unlogged-table-data", f"--compress={'zstd:3' if programs.has_zstd() else '6'}"],
        "larder backup --jobs 1",
    )  # fmt: skip


def restore(dsn: str, folder: Path, programs: PgBinaries, jobs: int, content: Content) -> None:
    """Fill a new, empty database from a folder. Rights come with it, and then owners: the roles must be there. While
    it is filled all belongs to whoever does it: only a superuser could make a table that is somebody else's from the
    beginning.

    Raises:
        LarderError: turn `us`: something could not be restored; the database is not to be used.
    """
    listed = _run(programs, "pg_restore", None, ["--list", str(folder)], "larder backup list")
    with tempfile.NamedTemporaryFile("w", prefix="larder-restore-", suffix=".list") as chosen:
        chosen.write("\n".join(line for line in listed.splitlines() if not _is_servers(line)))
        chosen.flush()
        _run(
            programs, "pg_restore", dsn,
            ["--exit-on-error", "--no-owner", f"--jobs={jobs}", f"--use-list={chosen.name}", str(folder)],
            "larder backup list",
        )  # fmt: skip
    with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cursor:
        give(cursor, (Owned(*one) for one in content.owners))


def _is_servers(line: str) -> bool:
    """Whether a line of a dump's list is what a superuser gives a database: rights on Postgres' own functions, and
    event triggers (sharding/access/workspace.py makes them anew)."""
    return " EVENT TRIGGER " in line or " ACL pg_catalog " in line


def ensure_groups(dsn: str, names: Sequence[str]) -> None:
    """Make roles that a dump speaks of and that this server lacks, without a login. Who they let in is set later."""
    with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("select rolname from pg_roles")
        there = {name for (name,) in cursor.fetchall()}
        for name in sorted(set(names) - there):
            cursor.execute(sql.SQL("create role {} nologin").format(sql.Identifier(name)))
            join(cursor, name)


def _roles(conn: Connection) -> tuple[str, ...]:
    """Roles that the database's objects name as owners, in rights or in policies; without Postgres' own."""
    with conn.cursor() as cursor:
        cursor.execute(
            """
            select distinct r.rolname from pg_shdepend as d inner join pg_roles as r on r.oid = d.refobjid
            where d.refclassid = 'pg_authid'::regclass
                and d.dbid = (select oid from pg_database where datname = current_database())
                and r.rolname !~ '^pg_'
            order by 1
            """
        )
        return tuple(name for (name,) in cursor.fetchall())


def _is_in(schema: str, part: Part) -> bool:
    if part.only:
        return any(fnmatchcase(schema, pattern) for pattern in part.only)
    return not any(fnmatchcase(schema, pattern) for pattern in part.without)


def _run(programs: PgBinaries, tool: str, dsn: str | None, arguments: Sequence[str], again: str) -> str:
    """Run one of Postgres' programs; returns what it says. The password goes by the environment: a command line is open
    to all."""
    program = programs.tool(tool)
    if not program.exists():
        raise LarderError(f"{programs.bin} has no {tool}", "config", "LARDER_POSTGRES_BIN=… larder doctor")
    parts = parse_dsn(dsn) if dsn else {}
    secret = str(parts.pop("password", ""))
    to = [f"--dbname={make_dsn(**{**parts, 'application_name': 'larder backup'})}"] if dsn else []
    done = subprocess.run(
        [str(program), *to, *arguments], env={**os.environ, "PGPASSWORD": secret},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = " ".join(done.stderr.split())[-600:]
        raise LarderError(f"{tool} failed: {said or f'exit code {done.returncode}'}", "us", again)
    return done.stdout
