"""Rows → records of a stream, by a mapping: one JSON line each, with what the row held and where it is from.

A row that a target cannot take is a record that says why (`refused`); raw puts it into quarantine with that reason. It
is refused for all targets of the row, so that no half of it counts.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingestion.data.entities import ENTITIES, Type
from ingestion.data.mapping import FILE, LINE, Column, Into, Rows
from ingestion.data.values import BadValue, Reader, text_of
from ingestion.spec import natural_key_text

_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Row:
    """One row: its cells by column, the file (or table) and line it is from, and what is wrong with it as a whole."""

    cells: Mapping[str, Any]
    file: str | None = None
    line: int | None = None
    problem: str | None = None


class NoColumn(Exception):
    """The mapping names a column that the rows do not have."""


class Recorder:
    """Makes records of one stream out of the rows of one mapping. One for each file: keys repeat within it, or not."""

    def __init__(self, rows: Rows, stream: str, types: Mapping[str, Type] | None = None, key: tuple[str, ...] = ()):
        """`types`, `key`: of a database's table, where the mapping does not say them."""
        self._rows, self._stream = rows, stream
        self._reader = Reader(rows.decimal, rows.dates, rows.time_zone)
        self._types, self._key = types or {}, tuple(Column(column=name) for name in key)
        self._seen: dict[bytes, tuple[bytes, int | None]] = {}
        self.columns: dict[str, Type] = {}  # of a table of one's own, as they were met

    def records(self, row: Row) -> Iterator[bytes]:
        """The row's records, each one line. Raises NoColumn."""
        targets = [into for into in self._rows.into if self._takes(into, row)]
        mine = [into for into in targets if into.stream == self._stream]
        if not mine:
            return
        problem = row.problem
        made: dict[int, dict[str, Any]] = {}
        for into in targets if problem is None else ():
            try:
                made[id(into)] = self._record(into, row)
            except BadValue as error:
                problem = str(error)
                break
        for into in mine:
            record = made.get(id(into)) or self._only_key(into, row)
            if problem is None:
                problem = self._repeated(record, row)
                if problem == "":
                    problem = None
                    continue
            yield self._line(record, row, problem)

    def _takes(self, into: Into, row: Row) -> bool:
        return row.problem is not None or all(
            text_of(self._cell(column, row) or "") in wanted for column, wanted in into.where.items()
        )

    def _record(self, into: Into, row: Row) -> dict[str, Any]:
        keys = [self._text(column, row, "its key") for column in into.key or self._key]
        columns = self._of_entity(into, row) if into.entity else self._of_table(into, row)
        record: dict[str, Any] = {"key": natural_key_text(keys), "columns": columns}
        if self._rows.window:
            record["window"] = self._read(Column(column=self._rows.window), row, "timestamp", self._rows.window)
        if into.location is not None:
            record["location"] = self._text(into.location, row, "its location")
        return record

    def _only_key(self, into: Into, row: Row) -> dict[str, Any]:
        """The key of a row that is refused, where it has one: it was seen, so it is not taken for deleted."""
        try:
            keys = [self._text(column, row, "its key") for column in into.key or self._key]
        except (BadValue, NoColumn):
            return {}
        return {"key": natural_key_text(keys)}

    def _of_entity(self, into: Into, row: Row) -> dict[str, Any]:
        assert into.entity is not None
        found: dict[str, Any] = {}
        for name, field in ENTITIES[into.entity].items():
            column = into.columns.get(name)
            value = None if column is None else self._read(column, row, field.type, name)
            if value is None and field.default is not None:
                value = self._reader.read(field.default, field.type) if field.type != "number" else field.default
            if value is None and field.required:
                raise BadValue(f"{name} is empty")
            if value is not None and field.values and value not in field.values:
                raise BadValue(f"{name} is {value!r}, not one of {', '.join(field.values)}")
            if value is not None:
                found[name] = value
        return found

    def _of_table(self, into: Into, row: Row) -> dict[str, Any]:
        columns = into.columns or {name: Column(column=header) for header, name in plain_names(row.cells).items()}
        found: dict[str, Any] = {}
        for name, column in columns.items():
            kind = column.type or self._types.get(column.column or "", "text")
            self.columns[name] = kind
            value = self._read(column, row, kind, name)
            if value is not None:
                found[name] = value
        return found

    def _read(self, column: Column, row: Row, kind: Type, name: str) -> Any:
        try:
            return self._reader.read(self._value(column, row), kind)
        except BadValue as error:
            raise BadValue(f"{name}: {error}") from None

    def _text(self, column: Column, row: Row, what: str) -> str:
        value = self._value(column, row)
        text = "" if value is None else text_of(value).strip()
        if not text:
            raise BadValue(f"{what} is empty" + (f" ({column.column})" if column.column else ""))
        return text

    def _value(self, column: Column, row: Row) -> Any:
        if column.value is not None:
            return column.value
        if column.template is not None:
            parts = {name: self._cell(name, row) for name in _PLACE.findall(column.template)}
            value: Any = (
                _PLACE.sub(lambda found: _blank(parts[found[1]]), column.template) if any(parts.values()) else None
            )
        else:
            value = self._cell(column.column or "", row)
        if isinstance(value, str):
            value = value.strip() or None
        if column.map and value is not None:
            value = column.map.get(text_of(value), value)
        return column.default if value is None else value

    def _cell(self, name: str, row: Row) -> Any:
        if name == FILE:
            return row.file
        if name == LINE:
            return row.line
        if name not in row.cells:
            raise NoColumn(f"there is no column {name!r}; there are: {', '.join(row.cells)}")
        return row.cells[name]

    def _repeated(self, record: Mapping[str, Any], row: Row) -> str | None:
        """ "" for a record that was met before, just so; a sentence for one with other values."""
        key = hashlib.blake2b(record["key"].encode(), digest_size=12).digest()
        content = hashlib.blake2b(_json(record), digest_size=12).digest()
        before, line = self._seen.setdefault(key, (content, row.line))
        if line == row.line:
            return None
        return "" if before == content else f"line {line} has the same key ({record['key']}) with other values"

    def _line(self, record: Mapping[str, Any], row: Row, problem: str | None) -> bytes:
        said: dict[str, Any] = dict(record)
        if problem is not None:
            where = f"line {row.line}: " if row.line is not None else ""
            said = {name: said[name] for name in ("key",) if name in said} | {"refused": f"{where}{problem}"}
        cells = {name: text_of(cell) for name, cell in row.cells.items() if cell is not None}
        if cells != {name: text_of(value) for name, value in said.get("columns", {}).items()}:
            said["row"] = cells
        if row.file is not None:
            said["file"] = row.file
        if row.line is not None:
            said["line"] = row.line
        return _json(said)


def plain_names(headers: Iterable[str]) -> dict[str, str]:
    """Headers as names that SQL needs not quote: `Net Sales (USD)` → net_sales_usd; each once."""
    names: dict[str, str] = {}
    for header in headers:
        name = re.sub(r"\W+", "_", header.strip().lower()).strip("_")[:50] or "column"
        name = f"_{name}" if name[0].isdigit() else name
        number = 2
        plain = name
        while name in names.values():
            name = f"{plain}_{number}"
            number += 1
        names[header] = name
    return names


def _blank(value: Any) -> str:
    return "" if value is None else text_of(value)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
