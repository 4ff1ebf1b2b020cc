"""Chunks hold every row once, COPY has no early end, and what was never copied is not looked for."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from sharding.moving import copying
from sharding.moving.copying import Chunk, connect, copy_chunk, plan_chunks
from sharding.moving.layout import MovedTable, moved_tables
from sharding.moving.pipe import transfer
from tests.sharding.moving.conftest import BUSINESS, Town


def table_of(town: Town, name: str) -> MovedTable:
    with closing(connect(town.old)) as source:
        return next(table for table in moved_tables(source, town.old) if table.name == name)


@pytest.mark.parametrize("cut_off_at", [1, 4, 40])
def test_a_copy_that_is_cut_off_is_not_taken_for_complete(town: Town, cut_off_at: int) -> None:
    """The source's server goes away, early and when much is under way; what has arrived ends at a row's end or not."""
    with closing(connect(town.old)) as source, closing(connect(town.new)) as target:
        breaths = []

        def breath() -> None:
            breaths.append(1)
            if len(breaths) == cut_off_at:
                town.sql(town.old, "select pg_terminate_backend(%s)", source.info.backend_pid)

        with target.cursor() as cursor:
            cursor.execute("create temporary table arrived (n bigint, filling text)")
            rows = sql.SQL("select n, repeat('x', 100) from generate_series(1, 10000000) as n")
            with pytest.raises(psycopg2.DatabaseError):
                transfer(source, cursor, rows, sql.SQL("arrived"), breath)
        assert len(breaths) >= cut_off_at
        target.rollback()


def test_a_target_that_refuses_a_row_ends_the_copy_with_its_own_error(town: Town) -> None:
    with closing(connect(town.old)) as source, closing(connect(town.new)) as target, target.cursor() as cursor:
        cursor.execute("create temporary table arrived (n bigint check (n <> 70000))")
        with pytest.raises(psycopg2.errors.CheckViolation):
            transfer(
                source, cursor, sql.SQL("select n from generate_series(1::bigint, 5000000) as n"), sql.SQL("arrived")
            )


@pytest.mark.parametrize("exactly", [copying._EXACTLY, 0])
@pytest.mark.parametrize(("name", "rows"), [("keys.sale", 1), ("keys.sale", 7), ("raw.head", 7), ("raw.head", 1000)])
def test_each_row_is_in_one_chunk(
    town: Town, name: str, rows: int, exactly: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_EXACTLY", exactly)
    table = table_of(town, name)
    with closing(connect(town.old)) as source:
        chunks = plan_chunks(source, town.old, BUSINESS, table, rows)
        counts = []
        for chunk in chunks:
            with source.cursor() as cursor:
                cursor.execute(
                    sql.SQL("select count(*) from {} where {}").format(
                        table.at(town.old), table.between(BUSINESS, chunk.low, chunk.high)
                    )
                )
                counts += [count for (count,) in cursor.fetchall()]
    assert sum(counts) == 60 and chunks[0].low is None and chunks[-1].high is None
    assert exactly == 0 or max(counts) <= rows + 1


def test_wide_rows_make_small_chunks(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK_BYTES", 8192)
    table = table_of(town, "raw.head")
    town.sql(town.old, "analyze raw.head")
    with closing(connect(town.old)) as source:
        assert len(plan_chunks(source, town.old, BUSINESS, table, 1000)) > 1


def test_a_chunk_copied_anew_replaces_what_is_there_and_nothing_else(town: Town) -> None:
    table = table_of(town, "raw.link")
    with closing(connect(town.old)) as source, closing(connect(town.new)) as target:
        chunk = Chunk(table, 0, (str(town.source), "a010", ""), (str(town.source), "a020", ""))
        others = [(town.source, "a005", "stays"), (town.neighbour_source, "a015", "stays")]
        for row in [*others, (town.source, "a015", "goes")]:
            town.sql(town.new, "insert into raw.link values (%s, %s, %s)", *row)
        assert copy_chunk(source, target, town.old, town.new, BUSINESS, chunk) == (10, None)
    there = town.sql(town.new, "select * from raw.link order by source_id, key")
    assert [row for row in there if row[2] in ("stays", "goes")] == sorted(others)
    assert len(there) == 12
