"""Two blocks, record by record: what was added, what is gone, and which fields of which records changed.

Records are paired by natural key (and its occurrence, where a block has a key twice). Both blocks are put into a
database file of their own, which is on disk, so memory does not grow with them. Numbers are compared and subtracted as
decimals of the vendor's own digits.
"""

import hashlib
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from ingestion import canonical
from ingestion.blocks import BlockStore, Manifest
from ingestion.checks import checker
from ingestion.spec import Stream

Kind = Literal["added", "removed", "changed"]
_NAMES = ("id", "uid", "guid", "uuid", "key")  # members that name an element of a list
_BATCH = 2000
_AMOUNT = re.compile(r"-?\d{1,30}\.\d{1,12}")
_ONLY_IN = """
select key, ordinal from {one}
where not exists (select 1 from {other} where {other}.key = {one}.key and {other}.nth = {one}.nth)
order by key, nth
"""


@dataclass(frozen=True)
class FieldChange:
    """One field that differs. `was` and `became` as the vendor wrote them, None where it was absent; `delta` of two
    numbers."""

    path: str
    was: str | None
    became: str | None
    delta: Decimal | None = None


@dataclass(frozen=True)
class RecordChange:
    """One record that differs; `ordinals` are its lines in both blocks."""

    kind: Kind
    natural_key: str
    ordinals: tuple[int | None, int | None]
    fields: tuple[FieldChange, ...] = ()


@dataclass
class Summary:
    """How many records of each kind; filled while the changes are read."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0


def compare(
    store: BlockStore, before: Manifest, after: Manifest, stream: Stream, summary: Summary
) -> Iterator[RecordChange]:
    """What differs between two blocks of one stream, by natural key.

    Raises DataError if one is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="larder-diff-") as folder:
        base = sqlite3.connect(Path(folder) / "records")
        try:
            base.executescript("pragma journal_mode = off; pragma synchronous = off; pragma temp_store = file")
            for name, manifest in (("a", before), ("b", after)):
                _put(base, name, store, manifest, stream)
            yield from _changes(base, summary)
        finally:
            base.close()


def _put(base: sqlite3.Connection, table: str, store: BlockStore, manifest: Manifest, stream: Stream) -> None:
    base.execute(f"create table {table} (key text, nth integer, ordinal integer, hash text, record blob)")
    base.execute(f"create index {table}_key on {table} (key)")
    check = checker(stream)
    batch: list[tuple[str, int, str, bytes]] = []

    def flush() -> None:
        base.executemany(
            f"insert into {table} values (?1, (select count(*) from {table} where key = ?1), ?2, ?3, ?4)", batch
        )
        batch.clear()

    for ordinal, record in enumerate(store.read(manifest)):
        found = check(record, manifest.observed_at)
        mark = getattr(found, "hash", None) or _mark(record)
        batch.append((found.natural_key or f"(no key) {mark}", ordinal, mark, record))
        if len(batch) == _BATCH:
            flush()
    flush()
    base.commit()


def _mark(record: bytes) -> str:
    return hashlib.blake2b(record, digest_size=16).hexdigest()


def _changes(base: sqlite3.Connection, summary: Summary) -> Iterator[RecordChange]:
    ((summary.same,),) = base.execute("select count(*) from a join b using (key, nth) where a.hash = b.hash")
    for key, ordinal in base.execute(_ONLY_IN.format(one="a", other="b")):
        summary.removed += 1
        yield RecordChange("removed", key, (ordinal, None))
    for key, ordinal in base.execute(_ONLY_IN.format(one="b", other="a")):
        summary.added += 1
        yield RecordChange("added", key, (None, ordinal))
    for key, first, second, was, became in base.execute(
        "select key, a.ordinal, b.ordinal, a.record, b.record from a join b using (key, nth) where a.hash <> b.hash"
        " order by key"
    ):
        summary.changed += 1
        yield RecordChange("changed", key, (first, second), tuple(field_changes(was, became)))


def field_changes(was: bytes, became: bytes) -> list[FieldChange]:
    """The fields that differ between two records. Elements of a list that name themselves are paired by name."""
    try:
        return list(_fields("", canonical.decode(was), canonical.decode(became)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, canonical.NumberOutOfRange):
        return [FieldChange("", was.decode("utf-8", "backslashreplace"), became.decode("utf-8", "backslashreplace"))]


def number(value: Any) -> Decimal | None:
    """A JSON number exactly; None for anything else."""
    if isinstance(value, msgspec.Raw):
        return Decimal(bytes(value).decode())
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _fields(path: str, was: Any, became: Any) -> Iterator[FieldChange]:
    if isinstance(was, dict) and isinstance(became, dict):
        for name in [*was, *(name for name in became if name not in was)]:
            below = f"{path}.{name}" if path else name
            yield from _member(below, was, became, name)
    elif isinstance(was, list) and isinstance(became, list):
        yield from _elements(path, was, became)
    else:
        first, second = number(was), number(became)
        if first is not None and second is not None:
            if first != second or _text(was) != _text(became):
                yield FieldChange(path, _text(was), _text(became), second - first)
        elif _text(was) != _text(became):
            yield FieldChange(path, _text(was), _text(became), _between(was, became))


def _between(was: Any, became: Any) -> Decimal | None:
    """The difference of two amounts that the vendor writes as text, such as `"12.50"`."""
    if all(isinstance(value, str) and _AMOUNT.fullmatch(value) for value in (was, became)):
        return Decimal(became) - Decimal(was)
    return None


def _member(path: str, was: dict[Any, Any], became: dict[Any, Any], name: Any) -> Iterator[FieldChange]:
    if name not in became:
        yield FieldChange(path, _text(was[name]), None)
    elif name not in was:
        yield FieldChange(path, None, _text(became[name]))
    else:
        yield from _fields(path, was[name], became[name])


def _elements(path: str, was: list[Any], became: list[Any]) -> Iterator[FieldChange]:
    for name in _NAMES:
        first, second = _named(was, name), _named(became, name)
        if first is not None and second is not None:
            for key in [*first, *(key for key in second if key not in first)]:
                yield from _member(f"{path}[{name}={key}]", first, second, key)
            return
    for place in range(max(len(was), len(became))):
        at = f"{path}[{place}]"
        if place >= len(became):
            yield FieldChange(at, _text(was[place]), None)
        elif place >= len(was):
            yield FieldChange(at, None, _text(became[place]))
        else:
            yield from _fields(at, was[place], became[place])


def _named(elements: Sequence[Any], name: str) -> dict[str, Any] | None:
    """The elements of a list by what names them; None if one has no name, or two have the same."""
    found: dict[str, Any] = {}
    for element in elements:
        key = canonical.scalar_text(element.get(name)) if isinstance(element, dict) else None
        if key is None or key in found:
            return None
        found[key] = element
    return found


def _text(value: Any) -> str:
    """A value as JSON, a number as the vendor wrote it."""
    return msgspec.json.encode(value).decode()
