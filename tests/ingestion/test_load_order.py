"""Blocks loaded in any order, in any company, end in the same current rows, and every record is accounted for."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingestion.blocks import Manifest, Window
from sharding.ids import make_id
from sharding.model import Shard
from tests.ingestion.raw_model import Depot, Line, Sample, depot, expected, set_aside

STREAMS = ("orders", "items", "spend")
DAYS = ("2025-03-01", "2025-03-02", "2025-03-03")
FAULTS = (None,) * 12 + ("no_key", "not_json", "not_jsonb", "modified_in_future")
BUSINESSES = itertools.chain([0, 1, 2**18 - 1, 2**18, 2**19 - 1], itertools.count(1000))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A block: few keys and values, so that late, equal, duplicate and vanished records are common."""
    stream = draw(st.sampled_from(STREAMS))
    first, last = sorted((draw(st.sampled_from(DAYS)), draw(st.sampled_from(DAYS))))
    lines = draw(
        st.lists(
            st.builds(
                Line,
                key=st.sampled_from("abc"),
                value=st.sampled_from(("100", "90", "1.0", "1.00", "12345678901234567890.123456789")),
                modified=st.none() | st.integers(0, 2) if stream != "spend" else st.none(),
                day=st.sampled_from([day for day in DAYS if first <= day <= last]) if stream == "spend" else st.none(),
                fault=st.sampled_from(
                    [fault for fault in FAULTS if stream != "spend" or fault != "modified_in_future"]
                ),
            ),
            max_size=5,
        )
    )
    bounds = {"start": first, "end": last} if stream == "spend" else {}
    complete = stream != "orders" and draw(st.sampled_from((True, True, False)))
    return Sample(stream, draw(st.integers(0, 8)), tuple(lines), Window(complete=complete, **bounds))


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """One shard for all examples: each has a business of its own."""
    name = server.copy_of("shard")
    yield depot(lambda *_: server.shard(name), tmp_path_factory.mktemp("blocks"))
    server.drop(name)


HUNDRED = Line("a", "100", 1)
NINETY = Line("a", "90", 2)
WHOLE = Window(complete=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@example(  # 100, 90, 100: what was said last counts, not what was loaded last
    [
        Sample("orders", 0, (HUNDRED,), Window()),
        Sample("orders", 1, (NINETY,), Window()),
        Sample("orders", 2, (Line("a", "100", 3),), Window()),
    ],
    [2, 0, 1],
    [True, True, True],
)
@example(  # gone, come back as it was, loaded before its deletion
    [
        Sample("items", 0, (Line("a", "1.0"),), WHOLE),
        Sample("items", 1, (), WHOLE),
        Sample("items", 2, (Line("a", "1.0"),), WHOLE),
    ],
    [0, 2, 1],
    [True, True, True],
)
@example(  # seen in quarantine is not gone, also when the quarantined block comes first
    [Sample("items", 0, (Line("a", "1.0"),), WHOLE), Sample("items", 1, (Line("a", "1", fault="not_jsonb"),), WHOLE)],
    [1, 0],
    [True, True],
)
@example(  # a record without a key may be any key: its window proves no absence
    [Sample("items", 0, (Line("a", "1.0"),), WHOLE), Sample("items", 1, (Line("b", "1", fault="no_key"),), WHOLE)],
    [0, 1],
    [True, True],
)
@example(  # seen last in an older version, together with a newer one
    [
        Sample("items", 0, (Line("a", "90", 2),), WHOLE),
        Sample("items", 1, (), WHOLE),
        Sample("items", 2, (Line("a", "100", 1),), WHOLE),
    ],
    [0, 2, 1],
    [False, True, True],
)
@example(  # a quarantined record shows that the key is there: it outlives an older window …
    [
        Sample("items", 0, (Line("a", "1.0"),), WHOLE),
        Sample("items", 1, (), WHOLE),
        Sample("items", 2, (Line("a", "1", fault="not_jsonb"),), WHOLE),
    ],
    [0, 2, 1],
    [True, True, True],
)
@example(  # … and brings it back
    [
        Sample("items", 0, (Line("a", "1.0"),), WHOLE),
        Sample("items", 1, (), WHOLE),
        Sample("items", 2, (Line("a", "1", fault="not_jsonb"),), WHOLE),
    ],
    [0, 1, 2],
    [True, True, True],
)
@example(  # refused, then sent anew: it is overtaken, also when what overtakes it was loaded first …
    [Sample("orders", 0, (Line("a", "1", 1, fault="not_jsonb"),), Window()), Sample("orders", 1, (NINETY,), Window())],
    [1, 0],
    [True, True],
)
@example(  # … and not by an older state that comes late, nor by one of which it cannot be said
    [
        Sample(
            "orders", 0, (Line("a", "1", 2, fault="not_jsonb"), Line("b", "1", fault="modified_in_future")), Window()
        ),
        Sample("orders", 1, (HUNDRED,), Window()),
        Sample("orders", 0, (Line("b", "1", 1),), Window()),
    ],
    [0, 1, 2],
    [True, True, True],
)
@given(
    st.lists(samples(), min_size=1, max_size=6),
    st.permutations(range(6)),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_any_order(shared: Depot, blocks: list[Sample], order: Sequence[int], cuts: Sequence[bool]) -> None:
    shared.business = next(BUSINESSES)
    source_id = shared.add_business(shared.business)
    written = [
        (
            sample,
            shared.block(sample.stream, (line.encode(sample.at) for line in sample.lines), sample.at, sample.window),
        )
        for sample in blocks
    ]
    batch: list[Manifest] = []
    for place in order:
        if place < len(written):
            batch.append(written[place][1])
        if cuts[place] and batch:
            assert not shared.load(*batch).failures
            batch = []
    assert not shared.load(*batch).failures

    for stream in STREAMS:
        current = {
            key: (str(version.payload["value"]), version.observed_at)
            for (source, key), version in shared.current(stream).items()
            if source == source_id
        }
        assert current == expected(written, stream), stream
    shared.books_balance()
    for stream in STREAMS:
        found = shared.run(
            "select reason, state from {raw}.quarantine where source_id = %s and stream = %s", source_id, stream
        )
        assert sorted(found) == set_aside(written, stream), stream
    feed = shared.run(
        "select stream, natural_key, sum((operation = 'I')::int - (operation = 'D')::int) from {raw}.feed"
        " where source_id = %s group by 1, 2 having sum((operation = 'I')::int - (operation = 'D')::int) > 0",
        source_id,
    )
    assert {(stream, key) for stream, key, _ in feed} == {
        (stream, key) for stream in STREAMS for key in expected(written, stream)
    }
    assert all(
        make_id(shared.business, 0) <= version <= make_id(shared.business, 2**45 - 1)
        for (version,) in shared.run("select version_id from {raw}.head where source_id = %s", source_id)
    )
    assert shared.load(*(manifest for _, manifest in written)).blocks == [], "the ledger makes a second load a no-op"


def test_an_unchanged_window_changes_nothing(make_shard: Callable[..., Shard], tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    lines = [Line(f"k{number}", "1.5", number).encode(0) for number in range(50)]
    raw.load(raw.block("orders", lines, 0))
    before = raw.run("select version_id from {raw}_acme.orders_current order by 1")
    result = raw.load(raw.block("orders", lines, 60))
    assert (result.total("versions"), result.total("unchanged"), result.changed) == (0, 50, {})
    assert raw.run("select version_id from {raw}_acme.orders_current order by 1") == before
    assert raw.run("select count(*) from {raw}.feed") == [(50,)]


def test_numbers_keep_their_text(make_shard: Callable[..., Shard], tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    numbers = ["0.1", "1.50", "-0.00", "1e3", "123456789012345678901234567890.123456789", "9007199254740993", "1E-7"]
    raw.load(raw.block("orders", [f'{{"id":"k{n}","n":{text}}}'.encode() for n, text in enumerate(numbers)]))
    rows = raw.run(
        "select payload ->> 'n', (payload ->> 'n')::numeric::text from {raw}_acme.orders_current order by ordinal"
    )
    assert [value for value, _ in rows] == [raw.run("select %s::numeric::text", text)[0][0] for text in numbers]


def test_a_namespace_keeps_to_itself(make_shard: Callable[..., Shard], tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path, namespace="north")
    raw.load(raw.block("orders", [Line("a", "1", 1).encode(0)]))
    assert raw.run("select natural_key from north_raw_acme.orders_current") == [("a",)]
    raw.books_balance()
    assert raw.run("select count(*) from pg_namespace where nspname like 'raw%'") == [(0,)]
