"""Names, keys and payloads with all that SQL, JSON and Unicode have: stored and read back as they were, or refused."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingestion.errors import LarderError as IngestionError
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from tests.conftest import Server
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.world import World
from tests.ingestion.conftest import make_spec
from tests.ingestion.raw_model import Depot, depot

NASTY = (
    "'; drop table keys.route; --", '"; drop schema raw cascade; --', "$$; select 1; $$", "%s %(x)s {raw} {{ x }}",
    "\\'; \\", "/* */ -- x", "a\tb\nc\r", "‮abc", "Cafe\u0301", "🍕" * 20, "\u200b", "İstanbul ß ﬁ", "\u0000", "\ud800",
    "NULL", "", " ", "..", "../../etc", "a" * 3000, "'" * 7, "\\x00", "'||pg_sleep(9)||'", "\u2028", "ＳＥＬＥＣＴ",
)  # fmt: skip
texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.builds("".join, st.lists(st.sampled_from([*NASTY, "x", "é", "\\", "'", '"', ";"]), max_size=4)),
)
# Of names that can be kept, as well as of those that cannot: several must be good for one business to be made.
shown = st.one_of(st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1), texts)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    texts,
)
jsons = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def fuzzed(examples: int) -> settings:
    """The same examples each time."""
    unhealthy = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=unhealthy)


some_and_many = pytest.mark.parametrize("examples", [15, pytest.param(300, marks=pytest.mark.faults)])
numbers = itertools.count(5000)


@pytest.fixture(scope="module")
def raw(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Depot]:
    """One shard for all examples."""
    name = server.copy_of("shard")
    yield depot(lambda *_: server.shard(name), tmp_path_factory.mktemp("names"))
    server.drop(name)


def tables(raw: Depot) -> list[tuple[Any, ...]]:
    return raw.run("select table_schema, table_name from information_schema.tables order by 1, 2")


@pytest.mark.fault(26)
@some_and_many
def test_keys_and_payloads(raw: Depot, examples: int, figure: Figure) -> None:
    """Every record is in raw as it was sent, or set aside; none is lost, none does anything."""
    raw.load(raw.block("orders", [{"id": "first"}]))
    before = tables(raw)
    counted = [0, 0]

    @fuzzed(examples)
    @given(st.lists(st.tuples(texts, jsons), min_size=1, max_size=5))
    def play(records: list[tuple[str, Any]]) -> None:
        business = next(numbers)
        raw.add_business(business)
        sent = {key: {"id": key, "value": value} for key, value in records}
        manifest = raw.block("orders", sent.values(), business=business)  # type: ignore[arg-type]
        done = raw.load(manifest)
        assert done.failures == []
        rows = raw.run(
            "select natural_key, payload::text from {raw}_acme.orders_current where {keys}.business_of(source_id) = %s",
            business,
        )
        found = {key: json.loads(payload) for key, payload in rows}
        aside = {ordinal for (ordinal,) in raw.run(
            "select ordinal from {raw}.quarantine where block_id = %s", str(manifest.block_id)
        )}  # fmt: skip
        for ordinal, (key, record) in enumerate(sent.items()):
            if ordinal in aside:
                assert key not in found
                assert key.strip() == "" or len(key.encode(errors="replace")) > 2000 or unstorable(record), record
            else:
                assert found[key] == json.loads(json.dumps(record))
        assert len(found) + len(aside) == len(sent)
        counted[0] += len(found)
        counted[1] += len(aside)

    play()
    assert tables(raw) == before
    raw.books_balance()
    figure("records", sum(counted))
    figure("of them set aside", counted[1])


def unstorable(record: Any) -> bool:
    """What jsonb has no room for: NUL, halves of surrogate pairs."""
    if isinstance(record, dict):
        return any(unstorable(part) for pair in record.items() for part in pair)
    if isinstance(record, list):
        return any(unstorable(part) for part in record)
    return isinstance(record, str) and ("\0" in record or any(0xD800 <= ord(c) < 0xE000 for c in record))


@pytest.mark.fault(26)
@some_and_many
def test_names_of_businesses_sources_and_places(
    control_dsn: str, catalogue: Catalogue, examples: int, figure: Figure
) -> None:
    """Kept as they are, or refused with a reason."""
    counted = [0, 0]

    @fuzzed(examples)
    @given(shown, shown, shown, st.dictionaries(texts, shown, max_size=2))
    def play(name: str, display: str, source: str, config: dict[str, str]) -> None:
        business = next(numbers)
        try:
            named = catalogue.add_business(f"{name}{business}", "Café", "shard_1", business=next(numbers))
            assert re.fullmatch("[a-z][a-z0-9_]*", named.name)
        except LarderError:
            counted[1] += 1
        try:
            made = catalogue.add_business(f"b{business}", display, "shard_1", business=business)
            added = catalogue.add_source(made.name, "acme", source, config)
        except LarderError:
            counted[1] += 1
            return
        assert catalogue.business(business).display_name == display
        again = catalogue.source(added.id)
        assert (again.name, dict(again.config)) == (source, config)
        counted[0] += 1

    play()
    assert all(counted), "all were kept, or all refused"
    assert len(catalogue.shards()) == 1
    figure("names kept", counted[0])
    figure("names refused", counted[1])


@pytest.mark.fault(26)
@some_and_many
def test_names_in_an_integration_become_identifiers_only_if_they_can(raw: Depot, examples: int, figure: Figure) -> None:
    counted = [0, 0]
    before = tables(raw)

    @fuzzed(examples)
    @given(texts)
    def play(name: str) -> None:
        stream = {"name": name, "about": "x", "path": "/x", "records": "data", "natural_key": "id"}
        try:
            spec = make_spec(stream)
        except (ValidationError, IngestionError, ValueError):
            counted[1] += 1
            return
        manifest = raw.block(name, [{"id": "a"}], integration="acme")
        done = raw.load(manifest, specs={"acme": spec})
        assert [f.error for f in done.failures] == [] and name.isidentifier() and name.islower()
        counted[0] += 1

    play()
    assert {row for row in tables(raw) if row not in before and not str(row[1]).isidentifier()} == set()
    figure("identifiers refused", counted[1])


@pytest.mark.faults
@pytest.mark.fault(26)
def test_keys_of_sales_all_the_way(world: World, figure: Figure) -> None:
    """Whatever a sale is called, it is in the facts under that name and in the summary with its amount."""
    keys = [name for name in NASTY if name.strip() and len(name) < 500 and not unstorable(name)]
    for key in keys:
        world.sell(key, "1.23", note=key)
    figure("to heal", healed(world), "s", "max")
    figure("keys of sales", len(keys))
