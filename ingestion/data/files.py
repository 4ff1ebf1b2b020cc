"""Files of a folder, of an upload, or of an object store, row by row, whatever they are written in."""

import codecs
import csv
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from fnmatch import fnmatchcase
from typing import IO, Any

import fsspec

from ingestion.data.mapping import Rows
from ingestion.data.records import Row
from ingestion.errors import ConfigError, DataError, LarderError

CHECK = "larder files preview"
_IN_MEMORY = 16 << 20
_SAMPLE = 1 << 18
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMATS = {
    "csv": "csv", "tsv": "csv", "txt": "csv", "json": "json", "jsonl": "jsonl", "ndjson": "jsonl",
    "parquet": "parquet", "pq": "parquet", "xlsx": "xlsx", "xlsm": "xlsx",
}  # fmt: skip
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
csv.field_size_limit(min(sys.maxsize, 1 << 27))


@dataclass(frozen=True)
class Found:
    """A file: its name below the folder, where it is, and a mark that changes with its content."""

    name: str
    path: str
    mark: str
    changed: str  # sorts by when it was changed


class Folder:
    """A folder in any fsspec store; `options` are those of the store (keys, endpoints)."""

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self.url = url
        try:
            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **(options or {}))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{url} cannot be opened: {error}", next_command=CHECK) from error
        self._root = root.rstrip("/")

    def files(self) -> list[Found]:
        """Every file below the folder, by name; DataError if there is no such folder or it does not answer."""
        try:
            if self._fs.isfile(self._root):
                return [self._found(self._root.rsplit("/", 1)[-1], self._fs.info(self._root))]
            if not self._fs.exists(self._root):
                raise DataError(f"there is no folder {self.url}", next_command=f"ls {self.url}")
            listed = self._fs.find(self._root, detail=True)
        except LarderError:
            raise
        except Exception as error:
            raise DataError(f"{self.url} cannot be read: {_one_line(error)}", next_command=CHECK) from error
        return [
            self._found(path[len(self._root) + 1 :], info)
            for path, info in sorted(listed.items())
            if not path.rsplit("/", 1)[-1].startswith((".", "~$"))
        ]

    def _found(self, name: str, info: Mapping[str, Any]) -> Found:
        stamps = [info.get(key) for key in ("mtime", "LastModified", "last_modified", "updated", "created")]
        changed = str(next((stamp for stamp in stamps if stamp is not None), ""))
        mark = "|".join(str(part) for part in (info.get("size"), info.get("ETag") or info.get("etag") or changed))
        return Found(name, info["name"], mark, changed)

    def matching(self, rows: Rows) -> list[Found]:
        """The files of a mapping, in the order in which they were changed."""
        assert rows.files is not None
        pattern = rows.files
        return sorted(
            (file for file in self.files() if _matches(file.name, pattern)), key=lambda file: (file.changed, file.name)
        )

    @contextmanager
    def opened(self, found: Found) -> Iterator[IO[bytes]]:
        """A copy of the file as it is now, unpacked; DataError if it cannot be read."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
            try:
                with self._fs.open(found.path, "rb", compression="infer") as source:
                    while chunk := source.read(1 << 20):
                        copy.write(chunk)
            except Exception as error:
                raise DataError(f"{found.name} cannot be read: {_one_line(error)}", next_command=CHECK) from error
            copy.seek(0)
            yield copy

    def rows(self, found: Found, rows: Rows) -> Iterator[Row]:
        """The file's rows, wide ones melted; DataError for a file that cannot be read as what it should be."""
        with self.opened(found) as copy:
            read = _READERS[format_of(found.name, rows)]
            try:
                yield from _melted(read(copy, rows, found.name), rows)
            except (UnicodeError, csv.Error, ValueError, OSError, KeyError) as error:
                raise DataError(f"{found.name} cannot be read: {_one_line(error)}", next_command=CHECK) from error


def format_of(name: str, rows: Rows) -> str:
    """What a file is written in; ConfigError where neither the mapping nor its name says."""
    if rows.format is not None:
        return rows.format
    plain = name.lower()
    for ending in _PACKED:
        plain = plain.removesuffix(ending)
    found = _FORMATS.get(plain.rsplit(".", 1)[-1])
    if found is None:
        raise ConfigError(
            f"{name}: its name does not say what it is; say `format: {'|'.join(sorted(set(_FORMATS.values())))}`",
            next_command=CHECK,
        )
    return found


def encoding_of(copy: IO[bytes]) -> str:
    """The encoding of a text: by its mark of byte order, UTF-8 if all of it is, else by its letters."""
    head = copy.read(4)
    copy.seek(0)
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    tail = b""
    try:
        while chunk := copy.read(1 << 20):
            tail = chunk
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
        return "utf-8"
    except UnicodeDecodeError as error:
        from charset_normalizer import from_bytes

        sample = tail[max(0, error.start - _SAMPLE // 2) : error.start + _SAMPLE // 2]
        best = from_bytes(sample, cp_exclusion=["utf_7"]).best()
        return best.encoding if best is not None else "latin-1"
    finally:
        copy.seek(0)


def delimiter_of(line: str) -> str:
    """The sign between the cells of a header: the commonest of the usual ones outside quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(",;\t|", key=bare.count)


def _csv(copy: IO[bytes], rows: Rows, name: str) -> Iterator[Row]:
    encoding = rows.encoding or encoding_of(copy)
    try:
        text = io.TextIOWrapper(copy, encoding=encoding, errors="surrogateescape", newline="")
    except LookupError as error:
        raise DataError(f"{name}: there is no encoding {encoding!r}", next_command=CHECK) from error
    try:
        for _ in range(rows.skip):
            text.readline()
        first = text.readline().lstrip("\ufeff")
        reader = csv.reader(_with(first, text), delimiter=rows.delimiter or delimiter_of(first))
        header = _header(next(reader, []))
        before = reader.line_num
        for cells in reader:
            line, before = rows.skip + before + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield _row(header, cells, name, line, encoding)
    finally:
        text.detach()


def _with(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _row(header: Sequence[str], cells: Sequence[Any], name: str, line: int, encoding: str = "") -> Row:
    problem = None
    surplus = [cell for cell in cells[len(header) :] if cell not in (None, "")]
    if surplus:
        problem = f"it has {len(cells)} cells, the header has {len(header)}"
    texts = [cell for cell in cells if isinstance(cell, str)]
    if any("\udc80" <= sign <= "\udcff" for text in texts for sign in text):
        problem = f"it holds bytes that are not {encoding}"
        cells = [
            cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            if isinstance(cell, str)
            else cell
            for cell in cells
        ]
    elif any("\0" in text for text in texts):
        problem = "it holds a NUL character"
    padded = [*cells, *[None] * (len(header) - len(cells))]
    found = {column: cell for column, cell in zip(header, padded, strict=False) if cell != ""}
    for number, cell in enumerate(cells[len(header) :], len(header) + 1):
        found[f"cell {number}"] = cell
    return Row({column: found.get(column) for column in (*header, *found)}, name, line, problem)


def _header(cells: Sequence[Any]) -> list[str]:
    """Names of columns: trimmed, each once; a column without one is named by its place."""
    names: list[str] = []
    for number, cell in enumerate(cells, 1):
        plain = " ".join(str(cell).split()) if cell is not None else ""
        plain = plain or f"column {number}"
        name, again = plain, 2
        while name in names:
            name, again = f"{plain} {again}", again + 1
        names.append(name)
    if not names:
        raise ValueError("it has no header")
    return names


def _xlsx(copy: IO[bytes], rows: Rows, name: str) -> Iterator[Row]:
    from zipfile import BadZipFile

    import openpyxl

    try:
        book = openpyxl.load_workbook(copy, read_only=True, data_only=True)
    except (BadZipFile, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise ValueError(f"it is no Excel workbook ({error})") from error
    try:
        if rows.sheet is not None and rows.sheet not in book.sheetnames:
            raise ValueError(f"it has no sheet {rows.sheet!r}; it has: {', '.join(book.sheetnames)}")
        sheet = book[rows.sheet] if rows.sheet is not None else book.worksheets[0]
        header: list[str] | None = None
        for line, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if line <= rows.skip:
                continue
            if header is None:
                filled = [number for number, cell in enumerate(cells, 1) if cell is not None]
                header = _header(cells[: filled[-1]] if filled else ())
            elif any(cell is not None and cell != "" for cell in cells):
                errors = [cell for cell in cells if isinstance(cell, str) and cell.startswith("#") and cell in _ERRORS]
                row = _row(header, [_date(cell) for cell in cells], name, line)
                yield row if not errors else Row(row.cells, name, line, f"a formula of it ends in {errors[0]}")
    finally:
        book.close()


def _date(cell: Any) -> Any:
    """A spreadsheet has no dates, only midnights."""
    return cell.date() if isinstance(cell, datetime) and cell.time() == time() else cell


_ERRORS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


def _json(copy: IO[bytes], rows: Rows, name: str) -> Iterator[Row]:
    content = json.loads(copy.read().decode(rows.encoding or "utf-8-sig"), parse_float=str, parse_int=str)
    for part in rows.records.split(".") if rows.records else ():
        if not isinstance(content, dict) or part not in content:
            raise ValueError(f"there is nothing at {rows.records!r}")
        content = content[part]
    records = content if isinstance(content, list) else [content]
    header = list(dict.fromkeys(key for record in records if isinstance(record, dict) for key in _flat(record)))
    for number, record in enumerate(records, 1):
        yield _object(record, name, number, header)


def _jsonl(copy: IO[bytes], rows: Rows, name: str) -> Iterator[Row]:
    text = io.TextIOWrapper(copy, encoding=rows.encoding or encoding_of(copy))
    header: dict[str, None] = {}
    try:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line, parse_float=str, parse_int=str)
            except ValueError as error:
                yield Row(dict.fromkeys(header) | {"text": line.rstrip("\n")}, name, number, f"it is not JSON: {error}")
                continue
            row = _object(record, name, number, list(header))
            header.update(dict.fromkeys(row.cells))
            yield row
    finally:
        text.detach()


def _object(record: Any, name: str, number: int, header: Sequence[str]) -> Row:
    if not isinstance(record, dict):
        return Row(dict.fromkeys(header) | {"value": json.dumps(record)}, name, number, "it is no object")
    return Row(dict.fromkeys(header) | _flat(record), name, number)


def _flat(record: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` → `{"a.b": 1}`; a list is its JSON text."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return found


def _parquet(copy: IO[bytes], rows: Rows, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        for batch in pq.ParquetFile(copy).iter_batches(batch_size=5000):
            for record in batch.to_pylist():
                line += 1
                yield Row(_flat(record), name, line)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


_READERS = {"csv": _csv, "xlsx": _xlsx, "json": _json, "jsonl": _jsonl, "parquet": _parquet}


def _melted(found: Iterator[Row], rows: Rows) -> Iterator[Row]:
    if rows.melt is None:
        yield from found
        return
    melt = rows.melt
    for row in found:
        missing = [column for column in melt.keep if column not in row.cells]
        if missing:
            raise ValueError(f"there is no column {missing[0]!r}; there are: {', '.join(row.cells)}")
        kept = {column: row.cells[column] for column in melt.keep}
        for column, cell in row.cells.items():
            if column not in melt.keep and cell is not None:
                yield Row(kept | {melt.name: column, melt.value: cell}, row.file, row.line, row.problem)


def _matches(name: str, pattern: str) -> bool:
    """`*.csv` is in the folder itself, `2024/*.csv` one below, `**/*.csv` anywhere."""
    if pattern.startswith("**/"):
        return any(fnmatchcase("/".join(name.split("/")[first:]), pattern[3:]) for first in range(name.count("/") + 1))
    return name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
