"""Who should live elsewhere: by size and load, with the reason, and no more than helps."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.errors import LarderError
from sharding.model import Business
from sharding.moving import plan
from sharding.moving.balance import balanced, emptied, halved, shares
from sharding.moving.plan import Weight, weigh
from tests.sharding.moving.conftest import BUSINESS, NEIGHBOUR, Town


def weight(name: str, shard: str, size: int, load: float) -> Weight:
    return Weight(Business(1, name, name, shard, 1, 1, "USD"), size, load)


def loads(weights: Sequence[Weight], moved: dict[str, str]) -> dict[str, float]:
    share, found = shares(weights), dict.fromkeys("abc", 0.0)
    for one in weights:
        found[moved.get(one.business.name, one.shard)] += share[one.business.name]
    return found


def test_size_and_load_count_half_each_and_what_is_known_counts_alone() -> None:
    assert shares([weight("x", "a", 300, 0), weight("y", "a", 100, 0)]) == {"x": 0.75, "y": 0.25}
    assert shares([weight("x", "a", 300, 10), weight("y", "a", 100, 30)]) == {"x": 0.5, "y": 0.5}
    assert shares([weight("x", "a", 0, 0), weight("y", "a", 0, 0)]) == {"x": 0.5, "y": 0.5}


def test_half_of_a_shard_goes_by_load_and_the_half_with_less_to_copy() -> None:
    there = [weight("big", "a", 900, 50), weight("x", "a", 10, 30), weight("y", "a", 20, 20), weight("z", "b", 1, 900)]
    steps = halved(there, "a", "b")
    assert {(step.name, step.to_shard) for step in steps} == {("x", "b"), ("y", "b")}
    assert {step.why for step in steps} == {"50% of what comes in go to b, 50% stay"}
    with pytest.raises(LarderError, match="b has 1 businesses: it cannot be halved"):
        halved(there, "b", "a")


def test_a_shard_is_emptied_to_where_there_is_room_the_heaviest_first() -> None:
    there = [weight("x", "a", 60, 0), weight("y", "a", 20, 0), weight("z", "b", 20, 0)]
    steps = emptied(there, "a", ["b", "c"])
    assert [(step.name, step.to_shard) for step in steps] == [("x", "c"), ("y", "b")]
    assert steps[1].why == "b has 40% with it"


def test_what_is_balanced_stays() -> None:
    assert balanced([weight("x", "a", 50, 0), weight("y", "b", 50, 0)], ["a", "b"]) == []
    assert balanced([weight("x", "a", 50, 0)], ["a"]) == []
    assert balanced([weight("x", "a", 100, 0)], ["a", "b"]) == [], "one that only changes sides helps nobody"
    three = [weight(name, "a", 0, 0) for name in "xyz"]
    assert len(balanced(three, ["a", "b"])) == 1, "nor does a second third"


def test_what_helps_most_moves_first() -> None:
    there = [weight("x", "a", 50, 0), weight("y", "a", 30, 0), weight("z", "a", 20, 0)]
    [step] = balanced(there, ["a", "b"])
    assert (step.name, step.from_shard, step.to_shard, step.why) == ("x", "a", "b", "a 100% → 50%, b 0% → 50% of all")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000), st.integers(0, 1000)), max_size=12))
def test_each_move_of_a_balance_helps_and_none_is_moved_twice(drawn: list[tuple[str, int, int]]) -> None:
    weights = [weight(f"b{n}", shard, size, load) for n, (shard, size, load) in enumerate(drawn)]
    if not weights:
        return
    moved: dict[str, str] = {}
    spread = max(loads(weights, moved).values()) - min(loads(weights, moved).values())
    for step in balanced(weights, list("abc")):
        assert step.name not in moved
        moved[step.name] = step.to_shard
        after = loads(weights, moved)
        assert max(after.values()) - min(after.values()) <= spread + 1e-9
        spread = max(after.values()) - min(after.values())


def test_a_business_weighs_what_statistics_say(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_SMALL", 0)
    town.sell(*(f"c{n:03d}" for n in range(200)))
    for table in ("raw_till.orders", "raw.head", "raw.link", "keys.sale"):
        town.sql(town.old, f"analyze {table}")
    with town.catalogue.connect() as connection, connection.cursor() as cursor:
        for days, records in ((0, 70), (3, 700), (30, 10_000)):
            cursor.execute(
                "insert into control.blocks (block_id, source_id, stream, path, manifest, observed_at, records, bytes)"
                " values (%s, %s, 'orders', 'p', '{}', now() - make_interval(days => %s), %s, 1)",
                (str(uuid4()), town.source, days, records),
            )
    found = {one.business.id: one for one in weigh(town.catalogue, ["old", "new"])}
    assert found[BUSINESS].records_a_day == 110 and found[NEIGHBOUR].records_a_day == 0
    assert 4 < found[BUSINESS].bytes / found[NEIGHBOUR].bytes < 16, "260 and 30 sales"
