"""What a mapping would make of rows, before anything is saved; and a first mapping for files that have none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
import yaml

from ingestion.checks import Accepted, checker
from ingestion.data.files import CHECK, Folder, Found, delimiter_of, encoding_of, format_of
from ingestion.data.mapping import Mapping, Rows
from ingestion.data.records import NoColumn, Recorder, Row, plain_names
from ingestion.data.run import check, database_of, folder_of
from ingestion.data.spec import stream_of
from ingestion.data.values import BadValue, Reader, text_of
from ingestion.errors import DataError
from ingestion.source import SourceRef

SAMPLE = 200
_DATES = ("iso", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%m/%d/%y")
_TIMES = ("", " %H:%M", " %H:%M:%S")
_EVER = datetime(9990, 1, 1, tzinfo=UTC)


@dataclass
class Previewed:
    """What would become of the rows that were looked at, of one stream."""

    stream: str
    rows: int = 0
    records: int = 0
    refused: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)  # records, as they would be
    problems: list[dict[str, Any]] = field(default_factory=list)  # file, line, reason


def preview(source: SourceRef, limit: int | None = None, shown: int = 5) -> list[Previewed]:
    """What each stream of the source would get from its files or tables; at most `limit` rows of each are read."""
    mapping = check(source)
    seen = []
    for name in mapping.streams:
        found = Previewed(name)
        verdict = checker(stream_of(name))
        for rows, recorder, row in _rows(source, mapping, name, limit):
            found.rows += 1
            try:
                records = [orjson.loads(record) for record in recorder.records(row)]
            except NoColumn as error:
                place = row.file or rows.database_table
                raise DataError(f"{place}: {error}", next_command=source.check_command) from error
            for record in records:
                judged = verdict(orjson.dumps(record), _EVER)
                found.records += 1
                if isinstance(judged, Accepted):
                    found.first += [{"key": record["key"], **record["columns"]}] if len(found.first) < shown else []
                else:
                    found.refused += 1
                    problem = {"file": row.file, "line": row.line, "reason": judged.detail}
                    found.problems += [problem] if len(found.problems) < 50 else []
        seen.append(found)
    return seen


def first_rows(source: SourceRef) -> tuple[str, int, str]:
    """Read a few rows: the first stream, how many rows there were, and where; raises what is wrong."""
    seen = preview(source, limit=20)
    where = str(source.config.get("path") or database_of(source).shown)
    return seen[0].stream, seen[0].rows, where


def _rows(source: SourceRef, mapping: Mapping, stream: str, limit: int | None) -> Iterator[tuple[Rows, Recorder, Row]]:
    for rows in mapping.of(stream):
        if rows.database_table is not None:
            database = database_of(source)
            table = database.table(rows.database_table)
            recorder = Recorder(rows, stream, table.types, table.key)
            for row in islice(database.rows(table.name), limit):
                yield rows, recorder, row
            continue
        folder = folder_of(source)
        files = folder.matching(rows)
        if not files:
            raise DataError(f"no file in {folder.url} matches {rows.files}", next_command=f"ls {folder.url}")
        for file in files:
            recorder = Recorder(rows, stream)
            for row in islice(folder.rows(file, rows), limit):
                yield rows, recorder, row


def guess(folder: Folder, name: str | None = None) -> str:
    """A first mapping for the files of a folder, as YAML to be edited: each kind of file a table of its own."""
    found = [file for file in folder.files() if name is None or file.name == name]
    if not found:
        raise DataError(f"there is no file in {folder.url}", next_command=CHECK)
    tables: dict[str, dict[str, Any]] = {}
    for file in found:
        ending = file.name.split("/")[-1].partition(".")[2]
        table = "".join(sign for sign in file.name.split("/")[-1].partition(".")[0].lower() if not sign.isdigit())
        table = plain_names([table.strip("-_ ")])[table.strip("-_ ")][:39].strip("_") or "rows"
        table = table if table[0].isalpha() else f"t{table}"[:39]
        if table not in tables:
            tables[table] = _guessed(folder, file, table, ending)
        elif tables[table]["files"] != file.name:
            tables[table]["files"] = f"*.{ending}" if len(tables) == 1 else f"{table}*.{ending}"
    text = yaml.safe_dump({"rows": list(tables.values())}, sort_keys=False, allow_unicode=True, width=110)
    return f"# A first guess. Say what identifies a row in `key`, and see docs/any-other-data.md for the rest.\n{text}"


def _guessed(folder: Folder, file: Found, table: str, ending: str) -> dict[str, Any]:
    said: dict[str, Any] = {"files": file.name}
    plain: dict[str, Any] = {"files": file.name, "into": [{"table": table, "key": ["$file", "$line"]}]}
    kind = format_of(file.name, Rows.model_validate(plain))
    if kind == "csv":
        with folder.opened(file) as copy:
            encoding = encoding_of(copy)
            header = copy.readline().decode(encoding, "replace") if not encoding.startswith("utf-") else ""
            copy.seek(0)
            header = header or copy.read(1 << 16).decode(encoding, "replace").partition("\n")[0]
        if encoding not in ("utf-8", "utf-8-sig"):
            said["encoding"] = encoding
        if (delimiter := delimiter_of(header)) != ",":
            said["delimiter"] = delimiter
    rows = list(islice(folder.rows(file, Rows.model_validate(plain)), SAMPLE))
    if not rows:
        raise DataError(f"{file.name} has no rows", next_command=CHECK)
    cells = {header: [row.cells.get(header) for row in rows] for header in rows[0].cells}
    comma = _fits(cells, "number", Reader(",")) > _fits(cells, "number", Reader("."))
    dates = _spellings(cells)
    if comma:
        said["decimal"] = ","
    if dates != ["iso"]:
        said["dates"] = dates
    reader = Reader("," if comma else ".", dates)
    names = plain_names(rows[0].cells)
    columns = {
        names[header]: {"column": header, **({"type": kind} if (kind := _kind(values, reader)) != "text" else {})}
        for header, values in cells.items()
    }
    unique = [
        header for header, values in cells.items() if None not in values and len(set(map(str, values))) == len(values)
    ]
    texts = [header for header in unique if _kind(cells[header], reader) in ("text", "integer")]
    key = [texts[0]] if texts and len(rows) > 1 else ["$file", "$line"]
    return said | {"into": [{"table": table, "key": key, "columns": columns}]}


def _fits(cells: dict[str, list[Any]], kind: Any, reader: Reader) -> int:
    return sum(_kind(values, reader) in (kind, "integer") for values in cells.values())


def _kind(values: list[Any], reader: Reader) -> str:
    """The narrowest type that all filled cells of a column have."""
    filled = [value for value in values if value is not None]
    for kind in ("integer", "number", "date", "timestamp"):
        if kind == "integer" and any(str(value).startswith("0") and len(str(value)) > 1 for value in filled):
            continue  # a number with leading zeros is a name
        if kind == "date" and not all(_is_bare(value, reader) for value in filled):
            continue
        if filled and all(_reads(value, kind, reader) for value in filled):
            return kind
    return "text"


def _reads(value: Any, kind: Any, reader: Reader) -> bool:
    try:
        reader.read(value, kind)
    except BadValue:
        return False
    return True


def _is_bare(value: Any, reader: Reader) -> bool:
    try:
        return reader.moment(value)[1]
    except BadValue:
        return False


def _spellings(cells: dict[str, list[Any]]) -> list[str]:
    """The spellings of dates that columns need, commonest first; of two that fit all the same the first listed."""
    needed: Counter[str] = Counter()
    for values in cells.values():
        texts = [text_of(value) for value in values if value is not None]
        if not texts or all(_reads(text, "number", Reader()) for text in texts):
            continue
        left = texts
        found: Counter[str] = Counter()
        spellings = [date + clock for date in _DATES for clock in (_TIMES if date != "iso" else ("",))]
        while left:
            fitting = {spelling: [text for text in left if _is_spelled(text, spelling)] for spelling in spellings}
            best = max(fitting, key=lambda spelling: len(fitting[spelling]))
            if not fitting[best]:
                break
            found[best] += len(fitting[best])
            left = [text for text in left if text not in fitting[best]]
        if not left:
            needed += found
    return [spelling for spelling, _ in needed.most_common()] or ["iso"]


def _is_spelled(text: str, spelling: str) -> bool:
    try:
        Reader(dates=(spelling,)).moment(text)
    except BadValue:
        return False
    return True
