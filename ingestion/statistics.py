"""Statistics of what a load has just filled: the build comes within seconds, autovacuum's analyze within minutes.

Without them the first build of 20,000 orders took one plan of nested loops over jsonb for 50 s, with them 3 s.
"""

from collections.abc import Iterable

from psycopg2.extensions import connection as Connection

from ingestion.publish import BlockCount

_FROM = 1000  # new versions; below, a plan cannot go far wrong
_SHARE = 5  # a fifth of the table is new


def refresh(conn: Connection, raw: str, blocks: Iterable[BlockCount]) -> list[str]:
    """Analyze the tables of streams that grew by a fifth or more, and the heads; returns the tables analyzed.

    Outside any publish: analyze locks a table against other analyzes until the end of its transaction.
    """
    grown: dict[str, int] = {}
    for block in blocks:
        table = f'"{raw}_{block.integration}"."{block.stream}"'
        grown[table] = grown.get(table, 0) + block.versions
    heads = f'"{raw}".head'
    analyzed = [table for table, new in grown.items() if _is_due(conn, table, new)]
    if _is_due(conn, heads, sum(grown.values())):
        analyzed.append(heads)
    for table in analyzed:
        with conn, conn.cursor() as cur:
            cur.execute(f"analyze {table}")
    return analyzed


def _is_due(conn: Connection, table: str, new: int) -> bool:
    if new < _FROM:
        return False
    with conn, conn.cursor() as cur:
        cur.execute("select reltuples from pg_class where oid = %s::regclass", (table,))
        [(known,)] = cur.fetchall()
    return bool(new * _SHARE >= known)
