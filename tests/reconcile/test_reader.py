"""The auditor's fold: which record is the latest, which key is gone, and bytes that are not what they were."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from reconcile.reader import (
    Place,
    ReceiptError,
    StreamRules,
    covers,
    fold,
    instant,
    key_of,
    parse,
    stored,
    without,
)
from tests.reconcile.store import Store

RULES = StreamRules(("id",), modified_path="at")
WHOLE = {"start": None, "end": None, "complete": True}
SNAPSHOT = StreamRules(("id",), tells_absence=True)
DAYS = StreamRules(("id",), tells_absence=True, window_path="day", window_format="date")
NOON, ONE, TWO = (f"2024-03-01T{hour}:00:00+00:00" for hour in (12, 13, 14))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def current(store: Store, rules: StreamRules, *set_aside: Place) -> dict[str, object]:
    """Key → the field `v` of what is current, over all blocks of the store."""
    folded = fold(store.url, stored(store.url).blocks, rules, frozenset(set_aside))
    return {key: seen.payload.get("v") for key, seen in folded.current.items()}


def test_the_vendors_time_decides_not_the_time_of_reading(store: Store) -> None:
    store.put("b", ['{"id":"a","v":2,"at":"2024-03-01T09:00:00Z"}'], observed_at=NOON)
    store.put("c", ['{"id":"a","v":1,"at":"2024-03-01T08:59:59.999Z"}'], observed_at=TWO)
    assert current(store, RULES) == {"a": 2}


def test_of_equal_times_the_later_reading_the_later_block_and_the_later_line_decide(store: Store) -> None:
    same = '{{"id":"{}","v":{},"at":"2024-03-01T09:00:00.000+0000"}}'
    store.put("z", [same.format("by reading", 1), same.format("by block", 1)], observed_at=NOON)
    store.put("y", [same.format("by reading", 2)], observed_at=ONE)
    store.put("a", [same.format("by block", 2), same.format("by line", 1), same.format("by line", 2)], observed_at=NOON)
    assert current(store, RULES) == {"by reading": 2, "by block": 1, "by line": 2}


def test_a_file_that_is_no_longer_here_is_read_from_its_copy(store: Store, tmp_path: Path) -> None:
    data = store.put("a", ['{"id":"a","v":1}'])
    store.put("b", ['{"id":"b","v":2}'])
    copy = tmp_path / "copies" / data.relative_to(tmp_path)
    copy.parent.mkdir(parents=True)
    data.rename(copy)
    with pytest.raises(ReceiptError, match="its file is gone"):
        current(store, RULES)
    kept = stored(store.url, 7, f"file://{tmp_path}/copies").blocks
    assert set(fold(store.url, kept, RULES).current) == {"a", "b"}
    copy.unlink()
    with pytest.raises(ReceiptError, match="its file is gone"):
        fold(store.url, kept, RULES)


def test_a_record_without_a_time_is_older_than_any_with_one(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1,"at":"1990-01-01T00:00:00Z"}'], observed_at=NOON)
    store.put("b", ['{"id":"a","v":2}'], observed_at=TWO)
    assert current(store, RULES) == {"a": 1}


def test_a_composite_key_cannot_run_into_its_neighbour() -> None:
    paths = ("account", "campaign.id")
    assert key_of({"account": "1|2", "campaign": {"id": 3}}, paths) == r"1\|2|3"
    assert key_of({"account": "1", "campaign": {"id": "2|3"}}, paths) == r"1|2\|3"
    assert key_of({"account": "1\\", "campaign": {"id": "2"}}, paths) == r"1\\|2"
    assert key_of({"account": "1", "campaign": {}}, paths) is None
    assert key_of({"account": "", "campaign": {"id": 3}}, paths) is None


def test_amounts_never_pass_through_a_float() -> None:
    record = parse('{"price": 0.1, "sum": 12345678901234567890.12, "rate": 1e-7, "cents": 9007199254740993}')
    assert record["price"] + Decimal("0.2") == Decimal("0.3")
    assert record["sum"] == Decimal("12345678901234567890.12")
    assert record["rate"] == Decimal("0.0000001")
    assert record["cents"] == 9007199254740993


def test_times_without_colon_or_with_an_offset_are_instants() -> None:
    assert instant("2019-07-13T16:36:29.420+0000") == instant("2019-07-13T12:36:29.420-04:00")


def test_a_key_that_a_later_whole_reading_misses_is_gone_and_a_later_one_brings_it_back(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1}', '{"id":"b","v":1}'], NOON, WHOLE)
    store.put("b", ['{"id":"b","v":2}'], ONE, WHOLE)
    assert current(store, SNAPSHOT) == {"b": 2}
    store.put("c", ['{"id":"a","v":3}', '{"id":"b","v":3}'], TWO, WHOLE)
    assert current(store, SNAPSHOT) == {"a": 3, "b": 3}


def test_only_streams_that_say_so_tell_of_absence(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1}'], NOON, WHOLE)
    store.put("b", ['{"id":"b","v":1}'], ONE, WHOLE)
    assert current(store, RULES) == {"a": 1, "b": 1}


def test_a_record_set_aside_is_not_current_but_was_seen(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1}'], NOON, WHOLE)
    store.put("b", ['{"id":"a","v":2}'], ONE, WHOLE)
    assert current(store, SNAPSHOT, Place("b", 1, 0)) == {"a": 1}


@pytest.mark.parametrize("unreadable", ['{"v":2}', '{"id": "b"', "[1]"])
def test_a_window_with_a_record_that_hides_its_key_proves_no_absence(store: Store, unreadable: str) -> None:
    store.put("a", ['{"id":"a","v":1}'], NOON, WHOLE)
    store.put("b", [unreadable], ONE, WHOLE)
    assert current(store, SNAPSHOT, Place("b", 1, 0)) == {"a": 1}


def test_a_window_of_days_holds_its_last_day_and_one_of_instants_not_its_end() -> None:
    days = {"start": "2024-03-01", "end": "2024-03-02"}
    held = [d for d in ("2024-02-29", "2024-03-01", "2024-03-02", "2024-03-03") if covers(days, {"day": d}, DAYS)]
    assert held == ["2024-03-01", "2024-03-02"]
    instants = {"start": "2024-03-01T10:00:00.000Z", "end": "2024-03-01T12:00:00.000Z"}
    rules = StreamRules(("id",), window_path="at", window_format="iso_z")
    times = ("05:00:00-04:00", "06:00:00-04:00", "07:59:59.999-04:00", "08:00:00-04:00")
    assert [covers(instants, {"at": f"2024-03-01T{t}"}, rules) for t in times] == [False, True, True, False]
    assert not covers(instants, {}, rules), "a record without a time is in no window that has ends"


def test_days_outside_a_window_stay(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1,"day":"2024-03-01"}', '{"id":"b","v":1,"day":"2024-03-05"}'], NOON)
    store.put("b", [], ONE, {"start": "2024-03-04", "end": "2024-03-05", "complete": True})
    assert current(store, DAYS) == {"a": 1}


def test_records_without_a_key_are_counted_unless_set_aside(store: Store) -> None:
    store.put("a", ['{"v":1}', '{"id":true}', '{"id":"a"}'])
    folded = fold(store.url, stored(store.url).blocks, RULES, frozenset([Place("a", 1, 0)]))
    assert (folded.lines, folded.keyless, list(folded.current)) == (3, 1, ["a"])


def test_volatile_fields_are_no_difference() -> None:
    record = {"id": 1, "etag": "x", "meta": {"seen": 1, "kept": 2}}
    assert without(record, ["etag", "meta.seen", "none.here"]) == {"id": 1, "meta": {"kept": 2}}
    assert record["etag"] == "x", "the record itself is left alone"


def test_changed_bytes_are_told_with_the_next_command(store: Store) -> None:
    data = store.put("a", [f'{{"id":"{n}","v":{n}}}' for n in range(200)])
    whole = data.read_bytes()
    for place in range(5, len(whole), 41):
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(ReceiptError, match="block a is damaged") as told:
            current(store, RULES)
        assert str(told.value).endswith("turn: data — next: larder blocks show a")


def test_a_block_that_lost_its_end_its_file_or_its_manifest_is_told(store: Store) -> None:
    data = store.put("a", ['{"id":"a","v":1}'] * 500)
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    with pytest.raises(ReceiptError, match="damaged"):
        current(store, RULES)
    data.unlink()
    with pytest.raises(ReceiptError, match="its file is gone"):
        current(store, RULES)
    data.with_name("a.manifest.json").write_text("{}")
    with pytest.raises(ReceiptError, match=r"a\.manifest\.json is damaged"):
        current(store, RULES)


def test_a_file_without_a_manifest_is_no_block(store: Store) -> None:
    store.put("a", ['{"id":"a","v":1}']).with_name("a.manifest.json").unlink()
    assert current(store, RULES) == {}
