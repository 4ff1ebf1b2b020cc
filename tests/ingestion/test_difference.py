"""Two blocks, record by record: exact numbers, field paths, and memory that does not grow with them."""

import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

from ingestion.blocks import BlockStore, Manifest
from ingestion.difference import FieldChange, RecordChange, Summary, compare, field_changes
from tests.ingestion.conftest import ITEMS, make_spec
from tests.ingestion.test_blocks import write

STREAM = make_spec(ITEMS | {"volatile": ["etag"]}).stream("items")


def compared(store: BlockStore, first: Manifest, second: Manifest) -> tuple[list[RecordChange], Summary]:
    summary = Summary()
    return list(compare(store, first, second, STREAM, summary)), summary


def test_added_removed_changed(tmp_path: Path) -> None:
    store = BlockStore(f"file://{tmp_path}")
    first = write(store, [b'{"id":"a","v":1}', b'{"id":"b","v":10.10}', b'{"id":"c","etag":1}', b'{"n":1}', b"{"])
    second = write(store, [b'{"id":"d"}', b'{"id":"c","etag":2}', b'{"v":10.35,"id":"b"}', b"{", b'{"n":2}'])
    found, summary = compared(store, first, second)
    assert (summary.added, summary.removed, summary.changed, summary.same) == (2, 2, 1, 2)
    assert RecordChange("removed", "a", (0, None)) in found and RecordChange("added", "d", (None, 0)) in found
    [changed] = [one for one in found if one.kind == "changed"]
    assert changed == RecordChange("changed", "b", (1, 2), (FieldChange("v", "10.10", "10.35", Decimal("0.25")),))


def test_a_key_twice_is_paired_by_its_turn(tmp_path: Path) -> None:
    store = BlockStore(f"file://{tmp_path}")
    first = write(store, [b'{"id":"a","v":1}', b'{"id":"a","v":2}'])
    second = write(store, [b'{"id":"a","v":1}', b'{"id":"a","v":3}', b'{"id":"a","v":4}'])
    found, summary = compared(store, first, second)
    assert [(one.kind, one.ordinals) for one in found] == [("added", (None, 2)), ("changed", (1, 1))]
    assert summary.same == 1


def paths(was: object, became: object) -> list[tuple[str, str | None, str | None]]:
    found = field_changes(json.dumps(was).encode(), json.dumps(became).encode())
    return [(one.path, one.was, one.became) for one in found]


def test_paths_name_elements_by_what_names_them() -> None:
    was = {"total": 5, "lines": [{"uid": "x", "price": 2}, {"uid": "y", "price": 3}], "tags": ["a", "b"], "gone": None}
    became = {"total": 7, "lines": [{"uid": "y", "price": 4}, {"uid": "z", "price": 3}], "tags": ["a"], "new": {"a": 1}}
    assert paths(was, became) == [
        ("total", "5", "7"),
        ("lines[uid=x]", '{"uid":"x","price":2}', None),
        ("lines[uid=y].price", "3", "4"),
        ("lines[uid=z]", None, '{"uid":"z","price":3}'),
        ("tags[1]", '"b"', None),
        ("gone", "null", None),
        ("new", None, '{"a":1}'),
    ]


def test_numbers_are_subtracted_exactly() -> None:
    [change] = field_changes(b'{"v":0.1}', b'{"v":0.30}')
    assert change.delta == Decimal("0.20") and (change.was, change.became) == ("0.1", "0.30")
    [change] = field_changes(b'{"v":9007199254740993}', b'{"v":9007199254740992.5}')
    assert change.delta == Decimal("-0.5")
    assert field_changes(b'{"v":1.50}', b'{"v":1.5}')[0].delta == 0, "another spelling, the same number"
    assert field_changes(b'{"v":1}', b'{"v":true}')[0].delta is None


def test_memory_does_not_grow_with_the_blocks(tmp_path: Path) -> None:
    """10 and 40 MB take the same; both are many times what is held."""
    store = BlockStore(f"file://{tmp_path}")

    def peak(records: int) -> int:
        pair = [
            write(store, [b'{"id":%d,"v":%d,"x":"%s"}' % (n, n % 97 + at, b"." * 400) for n in range(records)])
            for at in (0, 1)
        ]
        tracemalloc.start()
        summary = Summary()
        assert sum(1 for _ in compare(store, *pair, STREAM, summary)) == summary.changed == records
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small, large = peak(4000), peak(16000)
    assert large < small * 1.5
