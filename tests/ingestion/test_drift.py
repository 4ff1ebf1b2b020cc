"""What of a stream's records is new, missing or of another type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingestion.drift import Drift, Fields, Shape
from tests.faults.record import Figure


def fields(*records: dict[str, Any]) -> Fields:
    shape = Shape()
    for record in records:
        shape.add(json.dumps(record).encode())
    return shape.fields


ORDER: dict[str, Any] = {
    "id": "a",
    "total": 1.5,
    "note": None,
    "lines": [{"sku": "x", "qty": 1}, {"sku": "y", "qty": 2}],
}


def test_fields_of_records() -> None:
    found = fields(ORDER, {**ORDER, "note": "hot", "lines": []})
    assert found["note"] == {"null": 1, "text": 1}
    assert found["lines[]"] == {"object": 2} and found["lines[].qty"] == {"number": 2}


def test_what_stays_is_no_drift() -> None:
    known = fields(*[ORDER] * 9)
    assert known.changes(fields(ORDER, {**ORDER, "note": "hot", "lines": []})) == []
    assert Fields().changes(known) == []


@pytest.mark.fault(19)
def test_new_missing_and_retyped(figure: Figure) -> None:
    known = fields(*[ORDER] * 9)
    changed = {"id": "a", "total": "1.50", "note": None, "tax": {"rate": 7}, "lines": [{"sku": "x"}]}
    told = known.changes(fields(changed))
    assert told == [
        Drift("tax", "new", None, "object"),
        Drift("total", "retyped", "number", "text"),
        Drift("lines[].qty", "missing", "number", "in 0 of 1"),
    ]
    after = known.merged(fields(changed))
    assert after.changes(fields(changed)) == []
    figure("fields told of", len(told))


def test_a_field_that_is_rare_is_not_missing() -> None:
    assert fields(*[ORDER] * 9, {**ORDER, "tip": 1}).changes(fields(ORDER)) == []


def test_names_that_are_data_do_not_fill_the_memory() -> None:
    found = fields({"by_id": {str(n): {"name": "x"} for n in range(5000)}})
    assert len(found) < 700 and found["by_id.*.name"] == {"text": 4700}
    assert found.changes(fields({"by_id": {"123456": {"name": "x"}}})) == []


def test_a_number_beyond_floats_is_a_number() -> None:
    shape = Shape()
    shape.add(b'{"n": 1e400, "m": 123456789012345678901234567890}')
    assert shape.fields["n"] == {"number": 1} and shape.fields["m"] == {"number": 1}
