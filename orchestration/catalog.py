"""Keep Postgres' own catalog small.

Each build of a model makes and drops a few temporary tables, which leave dead rows in the catalog. Autovacuum looks at
it by its size, and between two looks every query that plans has to read past them.
"""

from __future__ import annotations

import psycopg2
from psycopg2.extensions import connection as Connection

MANY = 50_000  # dead rows: some 2,000 builds of a model; autovacuum is to come first
_TABLES = ("pg_class", "pg_attribute", "pg_type", "pg_index", "pg_depend", "pg_statistic", "pg_attrdef")


def tidy_catalog(conn: Connection, many: int = MANY) -> tuple[str, ...]:
    """Vacuum the catalog tables that have more than `many` dead rows and more dead than live; returns their names.

    Nothing where the role may not: vacuuming them takes the owner of the database or a superuser.
    """
    with conn, conn.cursor() as cur:
        cur.execute(
            "select relname from pg_stat_sys_tables where schemaname = 'pg_catalog' and relname = any(%s)"
            " and n_dead_tup > greatest(%s, n_live_tup) order by 1",
            (list(_TABLES), many),
        )
        bloated = tuple(row[0] for row in cur.fetchall())
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            for table in bloated:
                cur.execute(f"vacuum pg_catalog.{table}")
    except psycopg2.errors.InsufficientPrivilege:
        return ()
    finally:
        conn.autocommit = False
    return bloated
