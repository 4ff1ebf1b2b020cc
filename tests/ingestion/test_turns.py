"""Who is next, and when: no business and no vendor has all the places, and those that failed together come apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from ingestion.cadence import breaker_wait, next_due, wait_after
from ingestion.index import is_due
from ingestion.lanes import BACKLOG, BULK_PASS, FRESH_PASS, lane_of, next_pass
from ingestion.manifest import Manifest
from ingestion.source import SourceRef
from ingestion.turns import Turns

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def source(business: int, number: int, vendor: str = "acme") -> SourceRef:
    return SourceRef(business * 1000 + number, business, f"b{business}", vendor, f"s{number}")


def taken(turns: Turns, places: int) -> list[SourceRef]:
    return [one for _ in range(places) if (one := turns.take())]


def test_a_tenant_with_a_hundred_sources_leaves_places_to_others() -> None:
    turns = Turns([*(source(1, n) for n in range(100)), source(2, 1), source(3, 1)])
    assert {one.business for one in taken(turns, 3)} == {1, 2, 3}


def test_a_vendor_that_never_answers_has_half_of_the_places() -> None:
    turns = Turns([source(n, 1, "dead") for n in range(50)] + [source(n, 2, "well") for n in range(50)])
    running = taken(turns, 4)
    done = 0
    while any(one.integration == "well" for one in running):
        for one in [one for one in running if one.integration == "well"]:
            running.remove(one)
            turns.give_back(one, again=False)
            done += 1
            running += taken(turns, 1)
        assert done == 50 or sum(one.integration == "dead" for one in running) <= 3
    assert done == 50, "every well source was read while the dead ones held on"


def test_whoever_has_more_to_do_waits_behind_the_others() -> None:
    turns = Turns([source(1, 1), source(2, 1)])
    first = taken(turns, 1)[0]
    turns.give_back(first, again=True)
    assert [one.business for one in taken(turns, 2)] == [3 - first.business, first.business]


def test_one_source_asks_for_all_of_its_vendor() -> None:
    turns = Turns([source(n, 1) for n in range(3)])
    turns.one_of("acme")
    [first] = taken(turns, 3)
    turns.release("acme")
    turns.give_back(first, again=False)
    assert len(taken(turns, 3)) == 2 and turns.empty


def test_hourly_streams_spread_over_the_hour_and_stay_on_their_phase() -> None:
    first = [next_due(source_id, "items", HOUR, NOW) for source_id in range(400)]
    minutes = [0] * 6
    for moment in first:
        minutes[moment.minute // 10] += 1
        assert not is_due(moment, HOUR, NOW), "not again at once"
        assert is_due(moment, HOUR, NOW + HOUR), "and within the hour"
    assert min(minutes) > 25 and max(minutes) < 120, minutes
    later = first[7] + timedelta(minutes=4)  # read at the next tick
    assert next_due(7, "items", HOUR, later) == first[7] + HOUR
    early = first[7] - HOUR / 10
    assert next_due(7, "items", HOUR, early) == first[7] + HOUR, "its grace makes nothing be read twice"
    assert next_due(7, "orders", timedelta(minutes=10), NOW) == NOW + timedelta(minutes=10)


def test_waits_double_up_to_a_cap_and_differ_by_source() -> None:
    waits = [cast("timedelta", wait_after(n, "vendor", 1)) for n in range(1, 12)]
    assert waits[0] == timedelta(0) and timedelta(minutes=9) <= waits[1] <= timedelta(minutes=11)
    assert waits[2] == 2 * waits[1] and waits[-1] == waits[-2] <= timedelta(hours=6.6)
    assert len({wait_after(3, "vendor", n) for n in range(100)}) == 100
    assert cast("timedelta", wait_after(2, "credentials", 1)) > timedelta(hours=5)
    assert wait_after(5, "us", 1) is None
    assert [breaker_wait(n) for n in (1, 2, 9)] == [timedelta(minutes=10), timedelta(minutes=20), timedelta(hours=2)]


def manifest(number: int, business: int, size: int, reimport: bool = False) -> Manifest:
    made: Any = SimpleNamespace(
        block_id=UUID(int=number), business=business, source_id=str(business), bytes=size, is_reimport=reimport
    )
    return cast("Manifest", made)


def test_what_fits_in_a_pass_goes_together() -> None:
    """Orders and their payments, although each is much: a build in between would see one without the other."""
    orders, payments = manifest(1, 1, FRESH_PASS // 2), manifest(2, 1, FRESH_PASS // 4)
    assert next_pass([payments, orders, manifest(3, 2, 1000)]) == [orders, manifest_of(3), payments]


def manifest_of(number: int) -> Any:
    """Equal to a manifest with that number."""
    return SimpleNamespace(block_id=UUID(int=number), business=2, source_id="2", bytes=1000, is_reimport=False)


def test_a_backlog_waits_for_what_others_have_and_comes_oldest_first() -> None:
    backlog = [manifest(n, 1, BACKLOG) for n in range(100)]
    small = [manifest(1000 + n, 2 + n, 1000) for n in range(5)]
    chosen = next_pass([*backlog, *small])
    assert {one.business for one in chosen} == {2, 3, 4, 5, 6} and lane_of(chosen) == "fresh"
    after = next_pass(backlog)
    assert [one.block_id.int for one in after] == [0, 1] and lane_of(after) == "bulk"


def test_two_backlogs_take_turns() -> None:
    backlogs = [manifest(n, 1 if n < 50 else 2, BULK_PASS // 4) for n in range(100)]
    assert [one.business for one in next_pass(backlogs)] == [1, 2, 1, 2]


def test_what_is_read_again_waits_for_what_is_fresh_and_comes_in_slices() -> None:
    again = [manifest(n, 1 + n % 2, BULK_PASS // 4, reimport=True) for n in range(20)]
    fresh = manifest(99, 3, 1000)
    assert next_pass([*again, fresh]) == [fresh]
    cut = next_pass(again)
    assert len(cut) == 4 and [one.business for one in cut] == [1, 2, 1, 2] and lane_of(cut) == "bulk"
    assert len(next_pass([manifest(1, 1, FRESH_PASS * 3)])) == 1, "one that fits nowhere goes alone"
