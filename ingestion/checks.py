"""What a record must be to enter raw. Anything else goes to quarantine with a reason, and its neighbours go on.

`\\u0000`, half of a surrogate pair and 1e200000 are valid JSON, but jsonb refuses them and one such record would abort
the COPY of thousands. A time in the future would hold its key's place in the order against every true later version.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from ingestion import canonical
from ingestion.currencies import ISO_4217
from ingestion.spec import Stream, natural_key_text
from ingestion.times import parse_time

Reason = Literal[
    "not_json", "not_jsonb", "not_object", "no_key", "key_too_long", "bad_modified", "modified_in_future",
    "unknown_currency", "bad_row",
]  # fmt: skip
# A day of grace: vendors' clocks run ahead, and some write local times as if they were UTC.
FUTURE_GRACE = timedelta(days=1)
# A btree entry holds at most 2,704 bytes; the key shares it with the source and the stream.
MAX_KEY_BYTES = 2000
_SPLIT_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A record that can be loaded. `hash` is 32 hexadecimal digits."""

    natural_key: str
    modified_at: datetime | None
    hash: str
    window_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a record cannot be loaded; with its key, and when it was last modified, if these could be read."""

    reason: Reason
    detail: str
    natural_key: str | None
    modified_at: datetime | None = None


Verdict = Accepted | Rejected
Check = Callable[[bytes, datetime], Verdict]


def checker(stream: Stream) -> Check:
    """The check of one stream's records: (bytes, observed_at) → Accepted or Rejected. Pure."""
    key_paths = [path.split(".") for path in stream.natural_key]
    modified_name = stream.modified.path if stream.modified else ""
    modified_path = modified_name.split(".") if modified_name else None
    modified_format = stream.modified.format if stream.modified else "iso_offset"
    currency_paths = [path.split(".") for path in stream.currency]
    volatile = [path.split(".") for path in stream.volatile]
    window_path = stream.window_field.split(".") if stream.complete and stream.window_field else None
    window_format = stream.cursor.format if stream.cursor else "date"

    def key_of(record: Any) -> str | None:
        values = [canonical.scalar_text(canonical.value_at(record, path)) for path in key_paths]
        return natural_key_text([value for value in values if value]) if all(values) else None

    def modified_of(record: Any, key: str | None, observed_at: datetime) -> datetime | Rejected | None:
        said = canonical.value_at(record, modified_path) if modified_path is not None else None
        if said is None:
            return None
        try:
            modified_at = parse_time(said, modified_format)
        except (ValueError, OverflowError) as error:
            return Rejected("bad_modified", f"{modified_name} is no time: {error}", key)
        if modified_at > observed_at + FUTURE_GRACE:
            detail = f"{modified_name} {said} is after its extraction at {observed_at.isoformat()}"
            return Rejected("modified_in_future", detail, key)
        return modified_at

    def check(raw: bytes, observed_at: datetime) -> Verdict:
        try:
            record = canonical.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, canonical.NumberOutOfRange) as error:
            return _unreadable(raw, error, key_of)
        if not isinstance(record, dict):
            return Rejected("not_object", f"the record is a JSON {_kind(record)}, not an object", None)
        key = key_of(record)
        modified = modified_of(record, key, observed_at)
        modified_at = None if isinstance(modified, Rejected) else modified
        refused = canonical.scalar_text(record.get(stream.refused)) if stream.refused else None
        if refused is not None:
            return Rejected("bad_row", refused, _storable(key), modified_at)
        if b"\\u0000" in raw and any("\0" in text for text in canonical.texts(record)):
            detail = "a text holds \\u0000, which jsonb refuses"
            return Rejected("not_jsonb", detail, _storable(key), modified_at)
        if key is None:
            paths = ", ".join(stream.natural_key)
            return Rejected("no_key", f"the record has no value at its natural key ({paths})", None)
        if len(key.encode()) > MAX_KEY_BYTES:
            return Rejected("key_too_long", f"the natural key is longer than {MAX_KEY_BYTES} bytes", None)
        if isinstance(modified, Rejected):
            return modified
        for path in currency_paths:
            code = canonical.value_at(record, path)
            if code is not None and (not isinstance(code, str) or code not in ISO_4217):
                said = canonical.scalar_text(code) or _kind(code)
                detail = f"{'.'.join(path)} is {said!r}, no ISO 4217 currency"
                return Rejected("unknown_currency", detail, key, modified_at)
        window_at = None
        if window_path is not None:
            try:
                window_at = parse_time(canonical.value_at(record, window_path), window_format)
            except (ValueError, OverflowError):
                window_at = None  # in no bounded window: its absence will prove nothing
        return Accepted(key, modified_at, canonical.record_hash(record, volatile), window_at)

    return check


def _unreadable(raw: bytes, error: Exception, key_of: Callable[[Any], str | None]) -> Rejected:
    """Tell broken JSON from JSON that only jsonb refuses, by the more lenient reader of the standard library."""
    try:
        lenient = json.loads(raw, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as broken:
        if isinstance(broken, RecursionError):
            return Rejected("not_jsonb", "the record is nested too deep", None)
        return Rejected("not_json", f"the record is not JSON: {broken}", None)
    key = _storable(key_of(lenient))
    if any(ord(sign) in _SPLIT_SURROGATES for text in canonical.texts(lenient) for sign in text):
        return Rejected("not_jsonb", "a text holds half of a surrogate pair, which jsonb refuses", key)
    return Rejected("not_jsonb", str(error), key)


def _storable(key: str | None) -> str | None:
    """The key if a Postgres text can hold it."""
    if key is None or "\0" in key or any(ord(sign) in _SPLIT_SURROGATES for sign in key):
        return None
    return key if len(key.encode()) <= MAX_KEY_BYTES else None


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", msgspec.Raw: "number"}
    return names.get(type(value), "null")


def as_text(raw: bytes) -> str:
    """A record as Postgres text can hold it: bytes that are no UTF-8, and NUL, written as `\\x..`."""
    return raw.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
