"""What is refused and why, and that the hash sees exactly what matters."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion import canonical
from ingestion.checks import Accepted, Rejected, as_text, checker
from tests.ingestion.raw_model import SPECS

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
check = checker(SPECS["acme"].stream("orders"))


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("record", "reason", "key", "said"),
    [
        (b'{"id":"a","n":"\\u0000"}', "not_jsonb", "a", "\\u0000"),
        (b'{"id":"a","\\u0000":1}', "not_jsonb", "a", "\\u0000"),
        (b'{"id":"a\\u0000"}', "not_jsonb", None, "\\u0000"),
        (b'{"id":"a","n":"\\ud800"}', "not_jsonb", "a", "surrogate"),
        (b'{"id":"a","n":"\\udc00 \\ud800x"}', "not_jsonb", "a", "surrogate"),
        (b'{"id":"a","n":1e200000}', "not_jsonb", "a", "1e200000"),
        (b'{"id":"a","n":1e-20000}', "not_jsonb", "a", "1e-20000"),
        (b'{"id":"a","n":1e99999999999999999999}', "not_jsonb", "a", "numeric"),
        (b'{"id":"a","n":' + b"9" * 5000 + b"}", "not_jsonb", "a", "range"),
        (b'{"id":"a","n":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_jsonb", None, "deep"),
        (b'{"id":"a"', "not_json", None, "not JSON"),
        (b"", "not_json", None, "not JSON"),
        (b'{"id":"\xff"}', "not_json", None, "not JSON"),
        (b'{"id":"a","n":NaN}', "not_jsonb", "a", "invalid character"),
        (b"[1]", "not_object", None, "list"),
        (b"null", "not_object", None, "null"),
        (b'{"n":1}', "no_key", None, "(id)"),
        (b'{"id":""}', "no_key", None, "(id)"),
        (b'{"id":{"a":1}}', "no_key", None, "(id)"),
        (b'{"id":"' + b"k" * 3000 + b'"}', "key_too_long", None, "2000"),
        (b'{"id":"a","changed":"yesterday"}', "bad_modified", "a", "yesterday"),
        (b'{"id":"a","changed":"2025-03-10T12:00:00"}', "bad_modified", "a", "offset"),
        (b'{"id":"a","changed":"2025-03-11T12:00:01Z"}', "modified_in_future", "a", "2025-03-11T12:00:01Z"),
        (b'{"id":"a","currency":"XYZ"}', "unknown_currency", "a", "'XYZ'"),
        (b'{"id":"a","currency":7}', "unknown_currency", "a", "'7'"),
    ],
)
def test_refused(record: bytes, reason: str, key: str | None, said: str) -> None:
    verdict = check(record, NOW)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.natural_key) == (reason, key)
    assert said in verdict.detail


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (b'{"id":"a"}', "a"),
        (b'{"id":7}', "7"),
        (b'{"id":1.50}', "1.50"),
        (b'{"id":"a","n":"\\\\u0000"}', "a"),
        (b'{"id":"a","n":"\\ud83d\\ude00"}', "a"),
        (b'{"id":"a","n":1e1000}', "a"),
        (b'{"id":"a","currency":"EUR","changed":"2025-03-11T12:00:00Z"}', "a"),
        (b'{"id":"a","currency":null,"changed":null}', "a"),
    ],
)
def test_accepted(record: bytes, key: str) -> None:
    verdict = check(record, NOW)
    assert isinstance(verdict, Accepted)
    assert verdict.natural_key == key


def hash_of(record: bytes) -> str:
    return canonical.record_hash(canonical.decode(record), [["etag"], ["meta", "read_at"]])


def test_hash_ignores_spelling_and_volatile_fields() -> None:
    one = hash_of(b'{"id":"\\u00e9/","n":[1.50,{"b":1,"a":2}],"etag":1,"meta":{"read_at":1,"x":1}}')
    assert one == hash_of('{ "n": [1.50, {"a":2,"b":1}], "meta":{"x":1}, "id":"é\\/", "etag":2}'.encode())


@pytest.mark.parametrize(
    "other", [b'{"n":1.5}', b'{"n":"1.50"}', b'{"n":[1.50]}', b'{"n":null}', b"{}", b'{"n":1.50,"m":null}']
)
def test_hash_sees_every_other_difference(other: bytes) -> None:
    assert hash_of(b'{"n":1.50}') != hash_of(other)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values, values)
def test_hash_is_equality(one: Any, other: Any) -> None:
    """Two records have the same hash if and only if their JSON has the same values, numbers as written."""
    first, second = written(one), written(other)
    assert (hash_of(first) == hash_of(second)) == (exact(first) == exact(second))


def written(value: Any) -> bytes:
    """JSON with decimals as they print, inside an object."""
    if isinstance(value, dict):
        inner = ",".join(f"{json.dumps(name)}:{written(item).decode()[5:-1]}" for name, item in value.items())
        return f'{{"v":{{{inner}}}}}'.encode()
    if isinstance(value, list):
        return ('{"v":[' + ",".join(written(item).decode()[5:-1] for item in value) + "]}").encode()
    text = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return f'{{"v":{text}}}'.encode()


def exact(record: bytes) -> Any:
    """By the standard library, numbers as tagged text."""
    return json.loads(record, parse_float=lambda text: ("n", text), parse_int=lambda text: ("n", text))


def test_text_for_people_is_storable() -> None:
    assert as_text(b"a\xff\0b") == "a\\xff\\x00b"
