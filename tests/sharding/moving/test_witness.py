"""A chunk that is as it was when it was read is not hashed again on the old shard; one that is not is."""

from __future__ import annotations

from contextlib import closing

import pytest
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from sharding.moving import verify, witness
from sharding.moving.copying import Chunk, connect, copy_chunk, journal_chunks
from sharding.moving.drain import digest
from sharding.moving.journal import steps
from sharding.moving.layout import MovedTable, moved_tables
from tests.sharding.moving.conftest import BUSINESS, Town

ODD = """
update raw_till.orders
set payload = '{"total": 1.50, "deep": [null, "Ї \\u0001 \\\\", 1e400, {"": []}]}', modified_at = '-infinity'
where natural_key = 'a003'
"""
PAST_THE_TRIGGERS = """
set session_replication_role = replica;
update raw_till.orders set payload = jsonb_set(payload, '{total}', '1.500') where natural_key = 'a007'
"""


def test_what_is_read_is_what_arrives_and_its_digest(town: Town) -> None:
    town.sql(town.old, ODD)
    town.sql(town.new, "select raw.ensure_stream('till', 'orders')")
    with closing(connect(town.old)) as source, closing(connect(town.new)) as target:
        [table] = [t for t in moved_tables(source, town.old) if t.name == "raw_till.orders"]
        chunks = [Chunk(table, 0, None, None), Chunk(table, 1, ("9223372036854775807",), None)]
        journal_chunks(target, town.new, BUSINESS, chunks)
        (count, seen), (none, nothing) = (
            copy_chunk(source, target, town.old, town.new, BUSINESS, chunk, anew=False) for chunk in chunks
        )
        assert (count, none) == (60, 0) and seen is not None
        assert nothing in (None, witness.Witness(0, 0, 0)), "whether it is asked for depends on the plan"
        for conn, shard in ((source, town.old), (target, town.new)):
            with conn.cursor() as cursor:
                rows = sql.SQL("{} as here where {}").format(table.at(shard), table.rows_of(BUSINESS))
                assert digest(cursor, table, rows) == (seen.rows, seen.digest)
                assert witness.still_there(cursor, rows, seen) == (conn is source)
    assert town.rows(town.new)["raw_till.orders"] == town.rows(town.old)["raw_till.orders"]


@pytest.mark.parametrize("changed", [False, True])
def test_documents_are_hashed_again_where_any_has_changed(
    town: Town, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """Also by somebody whom no trigger saw: then the chunk differs, and is copied anew."""
    hashed = list[str]()

    def watched(cursor: Cursor, table: MovedTable, rows: sql.Composable) -> tuple[int, int]:
        if table.name == "raw_till.orders":
            hashed.append(cursor.connection.info.dbname)
        return digest(cursor, table, rows)

    def spoil(point: str) -> None:
        if point == "models told" and changed:
            town.sql(town.old, PAST_THE_TRIGGERS)
        if point == "compared":
            monkeypatch.undo()

    monkeypatch.setattr(verify, "digest", watched)
    moved = town.mover(reached=spoil, chunk_rows=1000).move("new")
    assert (town.old.database in hashed) == changed and town.new.database in hashed
    repaired = [detail["relation"] for _, step, detail in steps(town.catalogue, moved.id) if step == "repaired"]
    assert repaired == ["raw_till.orders"] * changed
    assert town.rows(town.new) == town.rows(town.old)
