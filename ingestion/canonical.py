"""One exact reading of a JSON record: values by path, and a hash that does not depend on spelling.

Numbers keep the vendor's text (`1.50` stays `1.50`): nothing here ever makes a float. The hash is taken over the record
with sorted keys and without the volatile paths, so the order of keys, white space and `\\u` escapes make no version.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

# Limits of Postgres' numeric, which jsonb numbers are: digits before and after the decimal point.
MAX_WHOLE_DIGITS = 131072
MAX_SCALE = 16383
_NUMBER = re.compile(r"-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")


class NumberOutOfRange(Exception):
    """A number that jsonb refuses or would round."""


def _exact(text: str) -> msgspec.Raw:
    if len(text) > 100 or "e" in text or "E" in text:
        _check_range(text)
    return msgspec.Raw(text.encode())


def _check_range(text: str) -> None:
    found = _NUMBER.fullmatch(text)
    assert found is not None
    whole, fraction, exponent_text = found[1], found[2] or "", found[3] or "0"
    exponent = int(exponent_text) if len(exponent_text) < 9 else MAX_WHOLE_DIGITS * 10
    if len(whole) + exponent > MAX_WHOLE_DIGITS or len(fraction) - exponent > MAX_SCALE:
        raise NumberOutOfRange(f"the number {text if len(text) <= 40 else text[:40] + '…'} is beyond numeric's range")


_DECODER = msgspec.json.Decoder(float_hook=_exact)
_ENCODER = msgspec.json.Encoder(order="sorted")


def decode(record: bytes) -> Any:
    """The record as Python values; a number with point or exponent is a `msgspec.Raw` of its own text.

    Raises msgspec.DecodeError or UnicodeDecodeError for what is not JSON, RecursionError for what is nested too deep,
    msgspec.ValidationError and NumberOutOfRange for numbers beyond our or Postgres' range.
    """
    return _DECODER.decode(record)


def value_at(record: Any, steps: Sequence[str]) -> Any:
    """The value at a split path (`general.timeZone` → `["general", "timeZone"]`; a number is a place in a list).

    None if there is none.
    """
    for step in steps:
        if isinstance(record, dict):
            record = record.get(step)
        elif isinstance(record, list) and step.isdigit() and int(step) < len(record):
            record = record[int(step)]
        else:
            return None
    return record


def scalar_text(value: Any) -> str | None:
    """A text or number as text, numbers as the vendor wrote them; None for anything else and for the empty text."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def record_hash(record: Any, volatile: Sequence[Sequence[str]] = ()) -> str:
    """128 bits over the canonical form, in hexadecimal. Removes the volatile paths from `record`."""
    for *parents, last in volatile:
        holder = value_at(record, parents)
        if isinstance(holder, dict):
            holder.pop(last, None)
    return hashlib.blake2b(_ENCODER.encode(record), digest_size=16).hexdigest()


def texts(value: Any) -> Iterator[str]:
    """Every text in a decoded record, keys included."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
