"""A block loaded again is a new generation that publishes only differences, and settles what was set aside before."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ingestion import quarantine
from ingestion.blocks import Manifest, Window
from ingestion.fates import fates, gone, ledger
from ingestion.load import connect
from ingestion.outcome import LoadResult
from ingestion.replay import replay
from ingestion.spec import IntegrationSpec
from sharding.model import Shard
from tests.ingestion.conftest import make_spec
from tests.ingestion.raw_model import ITEMS, ORDERS, SPECS, SPEND, Depot, depot

MakeShard = Callable[..., Shard]
# A vendor whose records are known by `value`, and whose `n` does not count as a change.
OTHER = {"acme": make_spec(ORDERS, ITEMS | {"natural_key": "value"}, SPEND)}
NO_N = {"acme": make_spec(ORDERS, ITEMS | {"volatile": ["n"]}, SPEND)}


@pytest.fixture
def raw(make_shard: MakeShard, tmp_path: Path) -> Depot:
    return depot(make_shard, tmp_path)


def again(raw: Depot, *blocks: Manifest, specs: Mapping[str, IntegrationSpec] = SPECS) -> LoadResult:
    return replay(raw.shard.dsn, raw.shard.schemas, blocks, raw.store, specs)


def counts(result: LoadResult) -> tuple[int, ...]:
    return tuple(result.total(what) for what in ("records", "versions", "unchanged", "superseded", "quarantined"))


def whole(raw: Depot) -> list[tuple[object, ...]]:
    return raw.run("select natural_key, version_id, operation, payload from {raw}_acme.items order by 1, 2")


def test_nothing_else_than_before_changes_nothing(raw: Depot) -> None:
    first = raw.block("items", [b'{"id":"a","n":1}', b'{"id":"b","n":1}'])
    second = raw.block("items", [b'{"id":"a","n":2}'], at=5)
    raw.load(first, second)
    before, fed = whole(raw), raw.run("select count(*) from {raw}.feed")
    result = again(raw, first, second)
    assert counts(result) == (3, 0, 2, 1, 0) and not any(result.changed.values())
    assert (whole(raw), raw.run("select count(*) from {raw}.feed")) == (before, fed)
    assert raw.run("select generation, count(*) from {raw}.loaded_blocks group by 1 order by 1") == [(1, 2), (2, 2)]
    raw.books_balance()
    again(raw, first)
    assert raw.run("select max(generation) from {raw}.loaded_blocks where block_id = %s", first.block_id) == [(3,)]


def test_only_what_differs_is_published(raw: Depot) -> None:
    block = raw.block(
        "items", [b'{"id":"a","value":"x"}', b'{"nothing":1}', b'{"id":"b","value":"y"}'], window=Window()
    )
    raw.load(block, specs=SPECS)
    raw.run("delete from {raw}.head where natural_key = 'b'")  # as if it had been refused then
    raw.run("delete from {raw}_acme.items where natural_key = 'b'")
    raw.run("update {raw}.loaded_blocks set versions = 1, superseded = 1")
    result = again(raw, block)
    assert counts(result) == (3, 1, 1, 0, 1)
    assert raw.run("select natural_key, operation from {raw}.feed order by xid, natural_key")[-1] == ("b", "I")


def test_what_was_set_aside_is_settled_by_the_next_generation(raw: Depot) -> None:
    block = raw.block("items", [b'{"value":"a","n":1}', b'{"value":"b","n":1}', b'{"nothing":1}'], window=Window())
    raw.load(block)
    assert counts(again(raw, block)) == (3, 0, 0, 0, 3), "nothing was fixed"
    assert raw.run("select generation, state, count(*) from {raw}.quarantine group by 1, 2 order by 1") == [
        (1, "resolved", 3),
        (2, "open", 3),
    ]
    raw.books_balance()
    assert counts(again(raw, block, specs=OTHER)) == (3, 2, 0, 0, 1)
    raw.books_balance()
    [(generation, ordinal)] = raw.run("select generation, ordinal from {raw}.quarantine where state = 'open'")
    assert (generation, ordinal) == (3, 2)

    [row] = quarantine.listed(raw.shard.dsn, raw.shard.schemas)
    fixed = {"acme": make_spec(ORDERS, ITEMS | {"natural_key": "nothing"}, SPEND)}
    tried = quarantine.retry(
        raw.shard.dsn, raw.shard.schemas, [row["quarantine_id"]], lambda _: block, raw.store, fixed
    )
    assert tried.total("versions") == 1, "a record of a later generation can be tried again like any other"
    raw.books_balance()


def test_what_a_person_gave_up_stays_given_up(raw: Depot) -> None:
    block = raw.block("items", [b'{"value":"a","n":1}', b'{"value":"b","n":1}', b'{"nothing":1}'], window=Window())
    raw.load(block)
    ids = {row["ordinal"]: row["quarantine_id"] for row in quarantine.listed(raw.shard.dsn, raw.shard.schemas)}
    quarantine.discard(raw.shard.dsn, raw.shard.schemas, raw.business, [ids[0], ids[2]], "a test sale")
    result = again(raw, block, specs=OTHER)
    assert result.total("versions") == 1
    assert raw.run("select natural_key from {raw}_acme.items_current") == [("b",)]
    assert raw.run(
        "select ordinal, decided_reason from {raw}.quarantine where state = 'discarded' order by ordinal"
    ) == [(0, "a test sale"), (2, "a test sale")]
    raw.books_balance()


def test_a_block_that_was_never_loaded_is_loaded(raw: Depot) -> None:
    block = raw.block("items", [b'{"id":"a"}'])
    assert counts(again(raw, block)) == (1, 1, 0, 0, 0)
    assert raw.run("select generation from {raw}.loaded_blocks") == [(1,)]


def test_fields_that_no_longer_count(raw: Depot) -> None:
    first = raw.block("items", [b'{"id":"a","n":1}'])
    raw.load(first)
    raw.load(raw.block("items", [b'{"id":"a","n":2}'], at=5), specs=NO_N)
    assert len(whole(raw)) == 2, "the head's hash is of yesterday's rule"
    assert counts(again(raw, raw.made[1], specs=NO_N)) == (1, 0, 1, 0, 0)


def told(raw: Depot, block: Manifest) -> list[tuple[str, str]]:
    conn = connect(raw.shard.dsn)
    try:
        records = list(enumerate(raw.store.read(block)))
        found = fates(conn, raw.shard.schemas, block, SPECS["acme"].stream(block.stream), records)
    finally:
        conn.close()
    return [(one.outcome, one.detail) for one in found]


def test_the_fate_of_each_record(raw: Depot) -> None:
    first = raw.block("items", [b'{"id":"a","n":1}', b'{"id":"b","n":1}', b"{", b'{"id":"c","n":1}'], window=Window())
    assert told(raw, first)[0] == ("not loaded", "the block is pending")
    raw.load(first)
    second = raw.block("items", [b'{"id":"a","n":1}', b'{"id":"b","n":2}', b'{"id":"b","n":3}'], at=5)
    late = raw.block("items", [b'{"id":"b","n":9}'], at=1, window=Window())
    raw.load(second)
    raw.load(late)
    assert [one[0] for one in told(raw, first)] == ["version", "version", "quarantined", "version"]
    assert told(raw, first)[0][1] == "in force" and told(raw, first)[1][1] == "in force until a newer one came"
    assert told(raw, first)[2][1].startswith("not_json: ")
    assert told(raw, second) == [
        ("unchanged", f"the same as line 0 of block {first.block_id}"),
        ("superseded", "older than line 2 of this block"),
        ("version", "in force"),
    ]
    assert told(raw, late) == [("superseded", f"older than line 2 of block {second.block_id}")]
    conn = connect(raw.shard.dsn)
    assert gone(conn, raw.shard.schemas, second, 10) == ["c"]
    assert [
        (one.generation, one.records, one.tombstones) for one in ledger(conn, raw.shard.schemas, second.block_id)
    ] == [(1, 3, 1)]
    conn.close()
