"""One run over a source of files or of a database: what is new becomes blocks, and the cursor moves with its block."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection

from ingestion import index
from ingestion.backoff import backoffs
from ingestion.blocks import BlockStore, HttpEvidence, Window
from ingestion.cadence import next_due
from ingestion.data import definitions
from ingestion.data.database import Database, Table
from ingestion.data.entities import Type
from ingestion.data.files import Folder, Found
from ingestion.data.mapping import DEFINITIONS, Mapping, Rows, parse_mapping
from ingestion.data.records import NoColumn, Recorder, Row
from ingestion.data.spec import MAPPING, PATH, stream_of
from ingestion.data.values import text_of
from ingestion.draft import Draft
from ingestion.errors import ConfigError, CredentialsError, DataError, LarderError
from ingestion.run import MAX_BYTES, Options, StreamResult, idle_outcome
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec, Stream

_FOR_EVER = "9999-12-31T00:00:00+00:00"
_NOTHING = hashlib.sha256().hexdigest()
_FILES = 50  # of one block
Clock = Callable[[], datetime]


def folder_of(source: SourceRef) -> Folder:
    """The folder of a source of files; its credentials are options of the store."""
    return Folder(str(source.config[PATH]), dict(source.secret))


def database_of(source: SourceRef) -> Database:
    """The database of a source; its URL is the secret."""
    url = source.secret.get("url") or source.secret.get("token")
    if not url:
        raise CredentialsError(
            f"source {source.label}: the database's URL is missing; it is the secret", next_command=source.check_command
        )
    return Database(url, source.check_command)


def check(source: SourceRef) -> Mapping:
    """The mapping of a source whose settings are right; ConfigError or CredentialsError where they are not."""
    again = source.check_command
    mapping = parse_mapping(source.config.get(MAPPING), again)
    files = [rows for rows in mapping.rows if rows.files is not None]
    if files and not source.config.get(PATH):
        raise ConfigError(
            f"source {source.label}: the setting 'path' is missing (where its files are)", next_command=again
        )
    if len(files) < len(mapping.rows):
        if files:
            raise ConfigError(f"source {source.label} is of files or of a database, not both", next_command=again)
        database_of(source)
    return mapping


class DataExtraction:
    """One run over one source's streams."""

    def __init__(
        self, source: SourceRef, spec: IntegrationSpec, store: BlockStore, conn: Connection, clock: Clock,
        options: Options,
    ) -> None:  # fmt: skip
        self.source, self.spec, self.store, self.conn, self.clock, self.options = (
            source, spec, store, conn, clock, options,
        )  # fmt: skip
        self.mapping = check(source)
        self.tables: dict[str, dict[str, Type]] = {}  # tables of the source's own and their columns, as met in this run

    def run(self) -> list[StreamResult]:
        """Read what is due, stream by stream."""
        due = index.due_streams(self.conn, self.source.source_id, self.spec, self.clock())
        held = backoffs(self.conn, [self.source.source_id])
        results: list[StreamResult] = []
        for stream in self.spec.streams:
            if self.options.streams is not None and stream.name not in self.options.streams:
                continue
            idle = idle_outcome(self.source, stream, stream in due, held, self.options, self.clock())
            if idle is not None:
                results.append(StreamResult(self.source, stream.name, idle, more=idle == "put_off"))
                continue
            results.append(self._one(stream, lambda run: run.read()))
        if self.tables:
            results += [one for one in [self._one(stream_of(DEFINITIONS), lambda run: run.define())] if one.blocks]
        return results

    def _one(self, stream: Stream, work: "Callable[[_Run], None]") -> StreamResult:
        key = (self.source.source_id, stream.name)
        started = time.monotonic()
        if not index.lock_stream(self.conn, *key):
            return StreamResult(self.source, stream.name, "busy")
        try:
            index.recover(self.conn, self.store, key)
            run = _Run(self, stream)
            try:
                work(run)
            except LarderError as error:
                run.fail(error)
            except OSError as error:
                run.fail(
                    LarderError(
                        f"the block store {self.store.url} cannot be written: {error}",
                        turn="us",
                        next_command=self.source.extract_command,
                    )
                )
            finally:
                run.draft.discard()
            return replace(run.result(), seconds=time.monotonic() - started)
        finally:
            if not self.conn.closed:
                index.unlock_stream(self.conn, *key)


@dataclass(frozen=True)
class _Read:
    """What a block says it is: its window, and the cursor after it."""

    window: Window
    after: dict[str, Any]


class _Run:
    """One stream of one run."""

    def __init__(self, extraction: DataExtraction, stream: Stream) -> None:
        self.x, self.stream = extraction, stream
        self.key = (extraction.source.source_id, stream.name)
        self.cursor = index.read_cursor(extraction.conn, *self.key)
        self.draft = Draft(extraction.conn, extraction.store, extraction.source, extraction.spec, stream)
        self.last = index.last_block(extraction.conn, *self.key)
        self.started_at = datetime.now(UTC)
        self.now = extraction.clock()
        later = self.last.observed_at + timedelta(microseconds=1) if self.last else self.now
        self.observed = max(self.now, later)
        self.manifests: list[Any] = []
        self.read_records = 0
        self.error: LarderError | None = None

    def read(self) -> None:
        """Read what is new of the stream."""
        rows = self.x.mapping.of(self.stream.name)
        if rows[0].files is not None:
            self._files(rows)
        else:
            self._database(rows[0])
        if self.error is None:
            index.set_read(self.x.conn, *self.key, self.now, next_due(*self.key, self.stream.cadence, self.now))

    def fail(self, error: LarderError) -> None:
        """Note what went wrong; the cursor stays where its last block left it."""
        self.error = self.error or error
        self.draft.discard()
        index.record_failure(self.x.conn, index.LogEntry(*self.key, self.started_at, error=error))

    def result(self) -> StreamResult:
        """What came of it."""
        return StreamResult(
            self.x.source,
            self.stream.name,
            "failed" if self.error else "block" if self.manifests else "empty",
            tuple(manifest.block_id for manifest in self.manifests),
            sum(manifest.records for manifest in self.manifests),
            sum(manifest.bytes for manifest in self.manifests),
            error=self.error,
        )

    def define(self) -> None:
        """Tell the columns of the source's own tables, where they are not those that were told before."""
        told = dict((self.cursor or {}).get("tables", {}))
        now_told = {
            **told,
            **{name: definitions.merged(types, told.get(name, {})) for name, types in self.x.tables.items()},
        }
        if now_told == told:
            return
        for name, columns in now_told.items():
            if columns != told.get(name):
                self._append(definitions.record(name, columns, self.x.source.business_name))
        self._commit(_Read(Window(), {"tables": now_told}), "", "")

    # -- files -------------------------------------------------------------------------------------------------------

    def _files(self, mappings: tuple[Rows, ...]) -> None:
        folder = folder_of(self.x.source)
        found = [(rows, file) for rows in mappings for file in folder.matching(rows)]
        if not found and not (self.cursor or {}).get("files"):
            patterns = ", ".join(str(rows.files) for rows in mappings)
            raise DataError(
                f"no file in {folder.url} matches {patterns}", next_command=f"larder files list {self.x.source.label}"
            )
        known = dict((self.cursor or {}).get("files", {}))
        marks = {f"{rows.files}|{file.name}": f"{rows.digest}|{file.mark}" for rows, file in found}
        new = [pair for pair in found if known.get(_mark(pair)) != marks[_mark(pair)]]
        if mappings[0].read == "snapshot":
            self._snapshot(folder, found, marks, bool(new) or set(known) != set(marks))
        else:
            self._append_files(folder, new, known, marks)

    def _snapshot(self, folder: Folder, found: list[tuple[Rows, Found]], marks: dict[str, str], changed: bool) -> None:
        """All the files together are everything there is: one block."""
        if not changed or not found:
            self._nothing({"files": marks if found else (self.cursor or {})["files"]})
            return
        for rows, file in found:
            self._records(rows, folder.rows(file, rows), file.name)
        read = _Read(Window(complete=True), {"files": marks})
        if self.draft.records:
            self._commit(read, found[0][1].path, found[-1][1].path)
        else:
            self._nothing({"files": marks}, "an empty list is not taken for the deletion of everything")

    def _append_files(
        self, folder: Folder, new: list[tuple[Rows, Found]], known: dict[str, str], marks: dict[str, str]
    ) -> None:
        """Each file's rows are added, or replace those with their key. A file that cannot be read stops no other."""
        for first in range(0, len(new), _FILES):
            group = new[first : first + _FILES]
            while group:
                failed = self._append_group(folder, group)
                if failed is None:
                    known |= {_mark(pair): marks[_mark(pair)] for pair in group}
                    break
                group.remove(failed)
            if self.draft.records:
                self._commit(_Read(Window(), {"files": dict(known)}), group[0][1].path, group[-1][1].path)
        if self.cursor is None or self.cursor["files"] != known:
            self._nothing({"files": known})

    def _append_group(self, folder: Folder, group: list[tuple[Rows, Found]]) -> tuple[Rows, Found] | None:
        """Put the records of some files into the open block; the file that cannot be read, and then none of them."""
        for rows, file in group:
            try:
                self._records(rows, folder.rows(file, rows), file.name)
            except LarderError as error:
                self.fail(error)
                return rows, file
        return None

    # -- databases ---------------------------------------------------------------------------------------------------

    def _database(self, rows: Rows) -> None:
        database = database_of(self.x.source)
        name = rows.database_table or ""
        table = database.table(name)
        if not table.key and any(not into.key for into in rows.into_of(self.stream.name)):
            raise ConfigError(
                f"{name} has no primary key: say `key: [column, …]` in its mapping",
                next_command=self.x.source.check_command,
            )
        for column in (rows.cursor, rows.window):
            if column is not None and column not in table.types:
                raise ConfigError(
                    f"{name} has no column {column!r}; it has: {', '.join(table.types)}",
                    next_command=self.x.source.check_command,
                )
        state = self.cursor if self.cursor and self.cursor.get("mapping") == rows.digest else None
        first = state is None
        swept = datetime.fromisoformat(state["swept_at"]) if state and state.get("swept_at") else None
        due = rows.sweep is not None and (swept is None or self.now - swept >= rows.sweep)
        if rows.read == "snapshot" or (rows.read == "window" and first) or due:
            self._whole(database, table, rows, state)
        elif rows.read == "window":
            self._window(database, table, rows)
        if rows.read == "cursor" and not (due and first):
            self._by_cursor(database, table, rows, self.cursor if state or due else None)

    def _whole(self, database: Database, table: Table, rows: Rows, state: dict[str, Any] | None) -> None:
        after: dict[str, Any] = {"mapping": rows.digest}
        highest = None
        for row in self._table_rows(database, table, rows, order=table.key):
            value = row.cells.get(rows.cursor) if rows.cursor else None
            highest = value if highest is None or (value is not None and value > highest) else highest
        if rows.cursor:
            value = text_of(highest) if highest is not None else None
            after |= {"value": (state or {}).get("value", value), "swept_at": self.now.isoformat()}
        whole = Window(complete=True)
        if self.last and self.last.window == whole and self.last.sha256 == self.draft.sha256:
            self.draft.discard()
            self._nothing(after, f"the same as block {self.last.block_id}")
        elif self.draft.records:
            self._commit(_Read(whole, after), database.shown, table.name)
        else:
            self._nothing(after, "an empty table is not taken for the deletion of everything")

    def _window(self, database: Database, table: Table, rows: Rows) -> None:
        """The trailing days, completely: what is absent from them is gone."""
        start = (self.now - rows.last).replace(hour=0, minute=0, second=0, microsecond=0)
        asked = start.date().isoformat() if table.types[rows.window or ""] == "date" else start.isoformat()
        for _ in self._table_rows(database, table, rows, order=table.key, column=rows.window, start=asked):
            pass
        window = Window(start=start.isoformat(), end=_FOR_EVER, complete=True)
        after = {"mapping": rows.digest}
        if self.last and self.last.window == window and self.last.sha256 == (self.draft.sha256 or _NOTHING):
            self.draft.discard()
            self._nothing(after, f"the same as block {self.last.block_id}")
        else:
            self._commit(_Read(window, after), database.shown, table.name)

    def _by_cursor(self, database: Database, table: Table, rows: Rows, state: dict[str, Any] | None) -> None:
        assert rows.cursor is not None
        kept = {name: at for name, at in (state or {}).items() if name == "swept_at"} | {"mapping": rows.digest}
        value = (state or {}).get("value")
        start = _less_lag(value, rows, table.types[rows.cursor]) if value is not None else None
        for row in self._table_rows(database, table, rows, order=(rows.cursor,), column=rows.cursor, start=start):
            if row.cells[rows.cursor] is not None:
                value = text_of(row.cells[rows.cursor])
            if self.draft.size >= MAX_BYTES and value is not None:
                self._commit(_Read(Window(), {"value": value} | kept), database.shown, table.name)
        if self.draft.records and self.last and self.last.sha256 == self.draft.sha256:
            self.draft.discard()  # the rows of the lag, again
        if self.draft.records:
            self._commit(_Read(Window(), {"value": value} | kept), database.shown, table.name)
        else:
            self._nothing(({"value": value} if value is not None else {}) | kept)

    def _table_rows(
        self, database: Database, table: Table, rows: Rows, *, order: tuple[str, ...], column: str | None = None,
        start: str | None = None,
    ) -> Iterator[Row]:  # fmt: skip
        """Rows of the table, each after its records were appended."""
        recorder = Recorder(rows, self.stream.name, table.types, table.key)
        for row in database.rows(table.name, order=order, column=column, start=start):
            self._record(recorder, row, table.name)
            yield row
        self._met(rows, recorder)

    # -- records and blocks ------------------------------------------------------------------------------------------

    def _records(self, rows: Rows, found: Iterator[Row], place: str) -> None:
        recorder = Recorder(rows, self.stream.name)
        for row in found:
            self._record(recorder, row, place)
        self._met(rows, recorder)

    def _record(self, recorder: Recorder, row: Row, place: str) -> None:
        try:
            for record in recorder.records(row):
                self._append(record)
        except NoColumn as error:
            raise DataError(f"{place}: {error}", next_command=self.x.source.check_command) from error

    def _met(self, rows: Rows, recorder: Recorder) -> None:
        for into in rows.into_of(self.stream.name):
            if into.table is not None:
                known = self.x.tables.get(into.table)
                self.x.tables[into.table] = definitions.merged(known, recorder.columns)

    def _append(self, record: bytes) -> None:
        self.draft.append(record + b"\n", 1)
        self.read_records += 1
        if self.x.options.progress and self.read_records % 1000 == 0:
            self.x.options.progress(self.x.source, self.stream.name, self.read_records)

    def _commit(self, read: _Read, first: str, last: str) -> None:
        manifest = self.draft.commit(
            started_at=self.started_at,
            window=read.window,
            sites=(),
            before=self.cursor,
            after=read.after,
            observed_at=self.observed,
            http=HttpEvidence(first_url=first, last_url=last),
        )
        self.manifests.append(manifest)
        self.last, self.cursor = manifest, read.after
        self.observed += timedelta(microseconds=1)

    def _nothing(self, after: dict[str, Any], message: str | None = None) -> None:
        index.record_empty(self.x.conn, after, index.LogEntry(*self.key, self.started_at, message=message))
        self.cursor = after


def _mark(pair: tuple[Rows, Found]) -> str:
    return f"{pair[0].files}|{pair[1].name}"


def _less_lag(value: str, rows: Rows, kind: Type) -> str:
    """Where the next window begins: a little before the highest time seen; the highest number itself."""
    return (datetime.fromisoformat(value) - rows.lag).isoformat() if kind == "timestamp" else value
