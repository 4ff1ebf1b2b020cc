"""What a load of blocks would change: how many records of which day, and by how much their amounts differ."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from ingestion import canonical
from ingestion.blocks import BlockStore, Manifest
from ingestion.difference import FieldChange, Kind, field_changes, number
from ingestion.load import Work, landed_only, stream_of
from ingestion.publish import Change, previewed
from ingestion.spec import IntegrationSpec, Stream

_MONEY = ("amount", "total", "price", "tax", "tip", "discount", "gross", "net", "pay", "wage", "cost", "spend", "fee",
          "charge", "refund", "balance", "subtotal", "gratuity", "paid")  # fmt: skip
_OTHER = re.compile(r"(^|_)(id|uid|count|type|number|rate|percentage|at)$|(Id|Uid|Guid|Count|Type|Number|Time|Date)$")
DayOf = Callable[[datetime], date]


@dataclass
class Day:
    """What would change of one stream on one day. `amounts`: path → by how much its sum over the records differs, in
    the vendor's own unit."""

    new: int = 0
    changed: int = 0
    vanished: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One record that would change, and how."""

    stream: str
    natural_key: str
    kind: Kind
    fields: tuple[FieldChange, ...]


@dataclass
class Preview:
    """What a load would change. `days`: by (stream, day); None where a record tells no time."""

    days: dict[tuple[str, date | None], Day] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    records: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: int = 0

    @property
    def changes(self) -> int:
        """How many records would be new, other or gone."""
        return sum(day.new + day.changed + day.vanished for day in self.days.values())


def preview(
    shard_dsn: str,
    schemas: Mapping[str, str],
    manifests: Sequence[Manifest],
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
    day_of: DayOf,
    samples: int = 20,
) -> Preview:
    """Load blocks of one business as far as needed to know, and take it back.

    `day_of` says which day an instant belongs to. Memory is that of one record and the days. Raises LarderError as
    `load_blocks`, also for a single block's fault.
    """
    found = Preview()
    works = [Work(manifest, stream_of(manifest, specs)) for manifest in manifests]
    streams = {work.manifest.stream: work.stream for work in works}
    with landed_only(shard_dsn, schemas, works, store) as (conn, slot, landed):
        for one in previewed(conn, schemas, slot, manifests[0].business, landed):
            if isinstance(one, Change):
                _add(found, one, streams[one.stream], day_of, samples)
            else:
                found.records += one.records
                found.unchanged += one.unchanged
                found.superseded += one.superseded
                found.quarantined += one.quarantined
    return found


def _add(found: Preview, change: Change, stream: Stream, day_of: DayOf, samples: int) -> None:
    by_date = stream.cursor is not None and stream.cursor.grain == "date" and stream.window_field is not None
    at = None if change.at is None else change.at.date() if by_date else day_of(change.at)
    day = found.days.setdefault((change.stream, at), Day())
    kind: Kind = "added" if change.was is None else "removed" if change.becomes is None else "changed"
    if kind == "added":
        day.new += 1
    elif kind == "removed":
        day.vanished += 1
    else:
        day.changed += 1
    for payload, sign in ((change.was, -1), (change.becomes, 1)):
        for path, amount in amounts(payload or b"{}").items():
            total = day.amounts.get(path, Decimal(0)) + sign * amount
            day.amounts[path] = total
    if len(found.samples) < samples:
        fields = () if change.was is None or change.becomes is None else field_changes(change.was, change.becomes)
        found.samples.append(Sample(change.stream, change.natural_key, kind, tuple(fields)))


def amounts(record: bytes) -> dict[str, Decimal]:
    """The amounts of money in a record by path, those of a list added up.

    An amount is a number (also one that is written as text) whose name, or its parent's, speaks of money. Vendors have
    no common word for it; what is meant exactly, the facts know after the load.
    """
    found: dict[str, Decimal] = {}
    for path, value in _leaves("", canonical.decode(record)):
        exact = number(value)
        if exact is None and isinstance(value, str):
            exact = _decimal(value)
        if exact is not None and _speaks_of_money(path):
            found[path] = found.get(path, Decimal(0)) + exact
    return found


def _speaks_of_money(path: str) -> bool:
    *_, parent, name = ["", *path.replace("[]", "").split(".")]
    words = f"{parent} {name}" if name in ("amount", "value", "units") else name
    return not _OTHER.search(name) and any(word in words.lower() for word in _MONEY)


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(f"{path}.{name}" if path else str(name), member)
    elif isinstance(value, list):
        for element in value:
            yield from _leaves(f"{path}[]", element)
    elif isinstance(value, str | int | msgspec.Raw):
        yield path, value
