"""larder sql: some shards or all, and what is said of those that fail."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import make_id
from sharding.model import Instance, Shard
from sharding.query import GRACE_SECONDS, read_only
from tests.cli.conftest import Ran


@pytest.fixture
def three(make_shard: Callable[..., Shard], register: Callable[[Shard], Catalogue]) -> Catalogue:
    """Three shards with a business each."""
    for number in (1, 2, 3):
        shard = make_shard(f"shard_{number}")
        catalogue = register(shard)
        catalogue.add_business(f"cafe_{number}", "x", shard.name)
    return catalogue


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


NAMES = "select name from keys.route"


def test_all_or_some_shards(larder: Callable[..., Ran], three: Catalogue) -> None:
    everywhere = [{"shard": f"shard_{n}", "name": f"cafe_{n}"} for n in (1, 2, 3)]
    assert larder("sql", NAMES, "--json").json == larder("sql", NAMES, "--all", "--json").json == everywhere
    some = larder("sql", NAMES, "--shard", "shard_3", "--shard", "shard_1", "--json").json
    assert some == [everywhere[2], everywhere[0]]
    both = larder("sql", NAMES, "--all", "--shard", "shard_1")
    assert both.code == 2 and "--all is every shard" in both.err


def test_a_shard_that_fails_is_named_and_the_others_answer(larder: Callable[..., Ran], three: Catalogue) -> None:
    query = "select 6 / (business - 2) as n from keys.route"
    half = larder("sql", query, "--json")
    assert half.code == 2 and half.json == [{"shard": "shard_1", "n": -6}, {"shard": "shard_3", "n": 6}]
    assert "shard_2: division by zero" in half.err and "1 of 3 shards gave no rows: shard_2" in half.err
    none = larder("sql", "select 1 / 0")
    assert none.code == 2 and "3 of 3 shards gave no rows" in none.err


def test_other_columns_are_not_mixed_in(larder: Callable[..., Ran], three: Catalogue) -> None:
    query = "select (null::public.mine).* from keys.route"
    for number, column in ((1, "a int"), (2, "b int"), (3, "a int")):
        with closing(psycopg2.connect(three.shard(f"shard_{number}").dsn)) as connection, connection:
            connection.cursor().execute(f"create type public.mine as ({column})")
    ran = larder("sql", query, "--json")
    assert [row["shard"] for row in ran.json] == ["shard_1", "shard_3"] and ran.code == 2
    assert "shard_2 gives other columns than shard_1: b" in ran.err


def test_a_silent_server_is_left_and_the_others_do_not_wait(
    larder: Callable[..., Ran], three: Catalogue, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILENT", "x")
    three.add_instance(Instance("silent", "external", "127.0.0.1", silent, "larder", "env:SILENT"))
    three.add_shard("shard_4", "silent", "nowhere")
    three.add_instance(Instance("gone", "external", "127.0.0.1", 1, "larder", "env:SILENT"))
    three.add_shard("shard_5", "gone", "nowhere")
    ran = larder("sql", NAMES, "--json", "--timeout", "0.3")
    assert ran.code == 2 and len(ran.json) == 3
    assert f"shard_4 has not answered in {0.3 + GRACE_SECONDS:g} s" in ran.err
    assert "shard_5 does not answer" in ran.err and "2 of 5 shards gave no rows: shard_4, shard_5" in ran.err


def test_a_query_that_takes_too_long_is_ended_by_its_server(shard: Shard) -> None:
    began = time.monotonic()
    with pytest.raises(LarderError, match="shard_1: canceling statement due to statement timeout"):
        read_only(shard, "select pg_sleep(60)", timeout_seconds=0.2)
    assert time.monotonic() - began < 30


def test_no_more_rows_than_asked_for(larder: Callable[..., Ran], three: Catalogue) -> None:
    query = "select n from generate_series(1, 5) as n"
    ran = larder("sql", query, "--shard", "shard_1", "--json", "--limit", "3")
    assert ran.json == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert "shard_1: more than 3 rows, the others are left out" in ran.err
    assert "left out" not in larder("sql", query, "--shard", "shard_1", "--limit", "5").err
    huge = "select 1 as n from generate_series(1, 100000) as a cross join generate_series(1, 100000) as b"
    found = read_only(three.shard("shard_1"), huge, limit=2)
    assert (found.rows, found.cut) == ([(1,), (1,)], True)  # the server does not make the others


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("show transaction_read_only", "on"),
        ("explain select 1", "Result"),
        ("values (1), (2) -- said\n;", 1),
        ("table keys.route", None),
        ("with n as (select 7 as n) select n from n", 7),
    ],
)
def test_whatever_gives_rows_is_a_query(shard: Shard, query: str, first: object) -> None:
    rows = read_only(shard, query, limit=1).rows
    assert (str(rows[0][0]).startswith(str(first)) if rows else None) in (True, None)


@pytest.mark.parametrize(
    "query",
    [
        "insert into keys.clock values (default, now())",
        "with x as (delete from keys.route returning 1) select * from x",
    ],
)
def test_what_writes_is_refused(shard: Shard, query: str) -> None:
    with pytest.raises(LarderError, match=r"read-only transaction|permission denied"):
        read_only(shard, query)


def test_several_statements_are_not_one_query(shard: Shard) -> None:
    with pytest.raises(LarderError, match="several statements, not one query"):
        read_only(shard, "select 1; select 2")


@pytest.mark.parametrize("business", [1, 255, 256, 2**18, 2**19 - 1])
def test_ids_are_text_in_json(larder: Callable[..., Ran], shard: Shard, catalogue: Catalogue, business: int) -> None:
    id_ = make_id(business, 3)
    query = f"select {id_}::bigint as id, array[{id_}::bigint] as ids, jsonb_build_object('id', {id_}::bigint) as doc,"
    [row] = larder("sql", f"{query} 12 as n, {business} as business", "--shard", "shard_1", "--json").json
    assert row == {"id": str(id_), "ids": [str(id_)], "doc": {"id": str(id_)}, "n": 12, "business": business}


def test_ids_are_text_wherever_a_command_prints_json(larder: Callable[..., Ran], catalogue: Catalogue) -> None:
    catalogue.add_business("cafe", "Café", "shard_1", business=300_000)
    source = catalogue.add_source("cafe", "till", "till", {})
    assert [row["id"] for row in larder("source", "list", "--json").json] == [str(source.id)]
    assert larder("business", "list", "--json").json[0]["id"] == 300_000
