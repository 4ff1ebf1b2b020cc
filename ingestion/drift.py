"""What a stream's records look like, and what changes: fields that are new, missing or of another type.

Nothing depends on it and nothing is refused for it: records go on as received. A crash between a load and its note
loses the note; the next block shows the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

import msgspec
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from ingestion import index
from ingestion.blocks import Manifest

Change = Literal["new", "missing", "retyped"]
_MOST_MEMBERS = 300  # of an object with more, the names are data: they are all called `*`
_SURE = 5  # as often as an object must have been seen before a member can be called missing
_KINDS: Mapping[type, str] = {
    dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number", type(None): "null",
}  # fmt: skip
_DECODER = msgspec.json.Decoder(float_hook=float)  # 1e400 is a number too


class _Node:
    """One place in the records: how often each type was there, and what is below."""

    __slots__ = ("items", "kinds", "members")

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.members: dict[str, _Node] = {}
        self.items: _Node | None = None

    def see(self, value: Any) -> None:
        kind = _KINDS[type(value)]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "object":
            self._see_members(value)
        elif kind == "list":
            self._see_items(value)

    def _see_members(self, value: dict[str, Any]) -> None:
        """Counts texts and numbers, which most members are, without a call for each: half of the time."""
        members = self.members
        for name, member in value.items():
            below = members.get(name)
            if below is None:
                below = members.setdefault(name if len(members) < _MOST_MEMBERS else "*", _Node())
            if type(member) is dict or type(member) is list:
                below.see(member)
                continue
            kind, kinds = _KINDS[type(member)], below.kinds
            if kind in kinds:
                kinds[kind] += 1
            else:
                kinds[kind] = 1

    def _see_items(self, value: list[Any]) -> None:
        if self.items is None:
            self.items = _Node()
        for item in value:
            self.items.see(item)

    def places(self, path: str) -> Iterator[tuple[str, dict[str, int]]]:
        yield path, self.kinds
        for name, member in self.members.items():
            yield from member.places(f"{path}.{name}" if path else name)
        if self.items is not None:
            yield from self.items.places(f"{path}[]")


class Shape:
    """Types by field of the records seen."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, record: bytes) -> None:
        """See one more record, which is valid JSON."""
        self._root.see(_DECODER.decode(record))

    @property
    def fields(self) -> "Fields":
        """Path → type → how often; the record itself is at the empty path."""
        return Fields({path: dict(kinds) for path, kinds in self._root.places("") if kinds})


@dataclass(frozen=True)
class Drift:
    """One change of a field."""

    field: str
    change: Change
    was: str | None
    became: str | None  # of a missing one: how many still have it


class Fields(dict[str, dict[str, int]]):
    """Path → type → how often."""

    def merged(self, other: "Fields") -> Self:
        """Both together."""
        both = type(self)({path: dict(kinds) for path, kinds in self.items()})
        for path, kinds in other.items():
            mine = both.setdefault(path, {})
            for kind, count in kinds.items():
                mine[kind] = mine.get(kind, 0) + count
        return both

    def changes(self, seen: "Fields") -> list[Drift]:
        """How what was seen differs from this. Of a new object only itself is told, not its members."""
        if not self:
            return []
        return [*self._new(seen), *self._retyped(seen), *self._missing(seen)]

    def _new(self, seen: "Fields") -> Iterator[Drift]:
        for path, kinds in seen.items():
            above = _above(path)
            if path not in self and (above is None or above in self) and f"{above}.*" not in self:
                yield Drift(path, "new", None, _names(kinds))

    def _retyped(self, seen: "Fields") -> Iterator[Drift]:
        for path, kinds in seen.items():
            before, now = set(self.get(path, ())) - {"null"}, set(kinds) - {"null"}
            if before and now - before:
                yield Drift(path, "retyped", _names(self[path]), _names(kinds))

    def _missing(self, seen: "Fields") -> Iterator[Drift]:
        for path, kinds in self.items():
            above = _above(path)
            if above is None or path.endswith("[]"):
                continue
            had, has = self.get(above, {}).get("object", 0), seen.get(above, {}).get("object", 0)
            there = sum(seen.get(path, {}).values())
            if there < has and had >= _SURE and sum(kinds.values()) >= had:
                yield Drift(path, "missing", _names(kinds), f"in {there} of {has}")


def _above(path: str) -> str | None:
    """The path of the object or list that a place is in; None for the record."""
    if not path:
        return None
    if path.endswith("[]"):
        return path[:-2]
    return path.rpartition(".")[0]


def _names(kinds: Mapping[str, int]) -> str:
    return " or ".join(sorted(kinds))


@dataclass(frozen=True)
class Noted:
    """A change as it is kept."""

    source_id: int
    stream: str
    drift: Drift
    block_id: UUID
    observed_at: datetime


def note(conn: Connection, manifest: Manifest, shape: Shape) -> list[Drift]:
    """Add a loaded block's shape to what is known of its stream, and keep what changed."""
    key = (int(manifest.source_id), manifest.stream)
    with conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.shapes (source_id, stream, shape) values (%s, %s, '{}') on conflict do nothing", key
        )
        cur.execute("select shape from control.shapes where source_id = %s and stream = %s for update", key)
        ((stored,),) = cur.fetchall()
        known, seen = Fields(stored), shape.fields
        found = known.changes(seen)
        cur.execute(
            "update control.shapes set shape = %s where source_id = %s and stream = %s",
            (Json(known.merged(seen)), *key),
        )
        if found:
            execute_values(
                cur,
                "insert into control.drift (source_id, stream, field, change, was, became, block_id, observed_at)"
                " values %s",
                [(*key, d.field, d.change, d.was, d.became, manifest.block_id, manifest.observed_at) for d in found],
            )
    return found


def noted(dsn: str, source_ids: list[int]) -> list[Noted]:
    """The changes kept of some sources, newest first."""
    with closing(index.connect(dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            "select source_id, stream, field, change, was, became, block_id, observed_at from control.drift"
            " where source_id = any(%s) order by observed_at desc, id",
            (source_ids,),
        )
        return [
            Noted(source_id, stream, Drift(field, change, was, became), block_id, observed_at)
            for source_id, stream, field, change, was, became, block_id, observed_at in cur.fetchall()
        ]
