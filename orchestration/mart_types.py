"""Columns of the marts as Arrow types: money stays exact, ids stay whole, moments keep their time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_PLAIN = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "timestamp without time zone": pa.timestamp("us"),
    "time without time zone": pa.time64("us"),
    "double precision": pa.float64(),
    "real": pa.float32(),
    "text": pa.string(),
}
_DIGITS = 38  # of a decimal128
_PARTITION = ("business_date", "week_begins_on", "month_start")


@dataclass(frozen=True)
class Column:
    """A column of a view of `bi`, with its Postgres type. `scale`: digits behind the point, where that says none."""

    name: str
    type: str
    scale: int | None = None

    @property
    def arrow(self) -> Any:
        """Its type in the file. What Arrow has no plain type for is text, as Postgres writes it."""
        base = self.type.removesuffix("[]")
        plain = self._plain(base)
        return pa.list_(plain) if self.type.endswith("[]") and plain is not None else plain or pa.string()

    @property
    def as_text(self) -> bool:
        """It is read as text."""
        return self._plain(self.type.removesuffix("[]")) is None

    @property
    def unscaled(self) -> bool:
        """Its type does not say how many digits are behind the point: the rows do."""
        return self.type == "numeric"

    def _plain(self, base: str) -> Any:
        if found := re.fullmatch(r"numeric\((\d+),(\d+)\)", base):
            return pa.decimal128(int(found[1]), int(found[2])) if int(found[1]) <= _DIGITS else None
        if base == "numeric":
            return None if self.scale is None else pa.decimal128(_DIGITS, self.scale)
        if base.startswith(("character", "name", "uuid")):
            return pa.string() if not base.startswith("uuid") else None
        return _PLAIN.get(base)


def exported(columns: Sequence[Column]) -> list[Column]:
    """The columns that a file has: without the ids as text, which `bi` has beside the ids for tools that need them."""
    names = {column.name for column in columns}
    return [c for c in columns if not (c.name.endswith("_text") and c.name.removesuffix("_text") in names)]


def partition_column(mart: str, columns: Sequence[Column]) -> str | None:
    """The date by whose month a mart is cut into files; None: it is one file, as dimensions are, also the calendar."""
    if mart.startswith("dim_"):
        return None
    dates = {column.name for column in columns if column.type == "date"}
    return next((name for name in _PARTITION if name in dates), None)


def schema_of(columns: Sequence[Column], about: dict[str, str]) -> Any:
    """The file's schema, with what it is about as metadata."""
    return pa.schema([pa.field(column.name, column.arrow) for column in columns], metadata=about)


def table_of(rows: Sequence[tuple[Any, ...]], schema: Any) -> Any:
    """Rows as an Arrow table. A value that its type cannot hold exactly is an error of Arrow's, never rounded."""
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
