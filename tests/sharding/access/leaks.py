"""The leak matrix: every relation and function of the catalog, by every route, as a business's role."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.ids import id_range

HARMLESS = frozenset({"keys.make_id", "keys.business_of", "keys.first_id", "keys.last_id"})
"""Functions of bits: they read nothing."""
ROUTES = {
    "a condition that tells": "select from {0} as r where case when r::text like '%{5}%' then (r::text)::int = 0 end",
    "copy": "copy (select * from {0}) to stdout",
    "copy of the relation": "copy {0} to stdout",
    "explain": "explain (analyze, verbose, buffers) select * from {0}",
    "query_to_xml": "select query_to_xml('select * from {0}', true, false, '')",
    "table_to_xml": "select table_to_xml({1}::regclass, true, false, '')",
    "cursor": "declare c cursor for select * from {0}; fetch all from c",
    "without row security": "set local row_security = off; select * from {0}",
    "prepared": "prepare p as select * from {0}; execute p; deallocate p",
    "the range of the other": "select * from {0} where {2} between {3} and {4}",
    "lock": "select * from {0} for update",
    "system columns": "select tableoid, ctid, xmin, r.* from {0} as r",
}
"""Ways to a relation that the role may read, besides selecting from it."""
REACHES = {
    "as it is": "select",
    "with the use of every schema": "set local role {role}",
    "as the group": "set local role larder_tenant",
}
"""The second is the administrator's session: the rights on schemas are only the outer of two walls."""


@dataclass(frozen=True)
class Leak:
    """What was seen, where and how."""

    relation: str
    route: str
    reach: str
    what: str


def relations(admin: Connection) -> list[tuple[str, str, str | None]]:
    """(name, kind, a bigint id column) of every relation, system catalogs too."""
    with admin, admin.cursor() as cursor:
        cursor.execute(
            """
            select format('%I.%I', n.nspname, c.relname), c.relkind::text, (
                select quote_ident(a.attname) from pg_attribute as a
                where a.attrelid = c.oid and a.atttypid = 'int8'::regtype and a.attnum > 0 and not a.attisdropped
                    and (a.attname = 'id' or a.attname like '%\\_id') order by a.attnum limit 1)
            from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind in ('r', 'v', 'm', 'p', 'f', 'S') and n.nspname !~ '^pg_(toast|temp)'
            order by 1
            """
        )
        return cursor.fetchall()


def leaks(admin: Connection, session: Connection, theirs: int, mark: str, only: str = "") -> Iterator[Leak]:
    """Whatever of business `theirs` a role's session can get at; relations whose name has `only` in it."""
    low, high = id_range(theirs)
    role = session.info.user
    found = [row for row in relations(admin) if only in row[0]]
    for reach, how in REACHES.items():
        connection = admin if reach == "with the use of every schema" else session
        with connection.cursor() as cursor:
            if connection is admin:
                cursor.execute(f"grant usage on schema {_schemas(cursor)} to {role}")
            cursor.execute(how.format(role=role))
            for relation, kind, column in found:
                system = relation.startswith(("pg_catalog.", "information_schema."))
                if system and reach != "as it is":
                    continue
                readable, told = _told(connection, cursor, f"select * from {relation}")
                seen = {"select": told}
                for route, text in ROUTES.items() if readable and not system and kind != "S" else ():
                    if column is not None or "{2}" not in text:
                        statement = text.format(relation, f"'{relation}'", column, low, high, mark)
                        seen[route] = _told(connection, cursor, statement)[1]
                for route, texts in seen.items():
                    for what in texts:
                        if mark in what or any(low <= int(n) <= high for n in re.findall(r"-?\d{18,19}", what)):
                            yield Leak(relation, route, reach, what[:200])
                            break
        connection.rollback()


def writable(session: Connection) -> list[str]:
    """Relations that the role may change."""
    with session, session.cursor() as cursor:
        cursor.execute(
            """
            select oid::regclass::text from pg_class
            where relkind in ('r', 'v', 'm', 'p', 'f', 'S') and case when relkind = 'S'
                then has_sequence_privilege(oid, 'usage, update')
                else has_table_privilege(oid, 'insert, update, delete, truncate, references, trigger') end
                and oid <> 'pg_settings'::regclass  -- one may change one's own settings
            """
        )
        return [name for (name,) in cursor.fetchall()]


def callable_functions(session: Connection) -> list[str]:
    """Functions outside the system's schemas that the role may call."""
    with session, session.cursor() as cursor:
        cursor.execute(
            """
            select distinct n.nspname || '.' || p.proname from pg_proc as p
            inner join pg_namespace as n on n.oid = p.pronamespace
            where n.nspname not in ('pg_catalog', 'information_schema') and has_function_privilege(p.oid, 'execute')
                and n.nspname !~ '^pg_temp' order by 1
            """
        )
        return [name for (name,) in cursor.fetchall() if name not in HARMLESS]


def _schemas(cursor: Cursor) -> str:
    cursor.execute(
        "select string_agg(quote_ident(nspname), ', ') from pg_namespace"
        " where nspname !~ '^pg_' and nspname <> 'information_schema'"
    )
    [(names,)] = cursor.fetchall()
    return str(names)


def _told(connection: Connection, cursor: Cursor, statement: str) -> tuple[bool, list[str]]:
    """Whether it was done, and all that came back: rows, what COPY wrote, notices, errors. Nothing of it stays."""
    told: list[str] = []
    connection.notices.clear()
    written, done = io.StringIO(), True
    cursor.execute("savepoint before")
    try:
        if statement.startswith("copy "):
            cursor.copy_expert(statement, written)
        else:
            cursor.execute(statement)
            told += [str(row) for row in cursor.fetchall()] if cursor.description else []
    except psycopg2.Error as error:
        done = False
        told.append(str(error))
    cursor.execute("rollback to savepoint before")
    return done, [*told, written.getvalue(), *connection.notices]
