"""Blocks with any content, what raw holds after loading them, and what it should hold: computed here, in Python."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extras import register_uuid

from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window
from ingestion.load import load_blocks
from ingestion.outcome import LoadResult
from ingestion.spec import IntegrationSpec
from sharding.ids import make_id
from sharding.model import Shard
from tests.ingestion.conftest import make_spec

START = datetime(2025, 3, 10, 12, tzinfo=UTC)
ORDERS = {
    "name": "orders", "about": "Changed in place", "path": "/orders", "records": "data", "natural_key": "id",
    "modified": {"path": "changed"}, "cursor": {}, "ascending": True, "currency": "currency", "volatile": "etag",
}  # fmt: skip
ITEMS = {
    "name": "items", "about": "Read whole", "path": "/items", "records": "data", "natural_key": "id",
    "modified": {"path": "changed"}, "deletes": "snapshot",
}  # fmt: skip
SPEND = {
    "name": "spend", "about": "Days, read whole", "path": "/spend", "records": "data", "natural_key": ["id", "day"],
    "cursor": {"format": "date"}, "deletes": "complete_window", "window_field": "day",
}  # fmt: skip
SPECS = {"acme": make_spec(ORDERS, ITEMS, SPEND)}


class Version(NamedTuple):
    """A current row: what does not depend on when it was loaded."""

    payload: Any
    modified_at: str
    observed_at: str


@dataclass
class Depot:
    """A shard with one business and two sources, and a store of blocks."""

    shard: Shard
    store: BlockStore
    business: int = 7
    made: list[Manifest] = field(default_factory=list)

    @property
    def source_id(self) -> int:
        return make_id(self.business, 1)

    def set_up(self) -> "Depot":
        self.add_business(self.business)
        return self

    def add_business(self, business: int) -> int:
        source_id = make_id(business, 1)
        self.run(
            "insert into {keys}.route (business, name, display_name) values (%s, %s, 'B')", business, f"b{business}"
        )
        self.run("insert into {keys}.counter (business, next) values (%s, 10)", business)
        self.run("insert into {keys}.source (id, integration, name) values (%s, 'acme', 'till')", source_id)
        return source_id

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.shard.dsn, options="-c timezone=UTC")) as conn, conn, conn.cursor() as cur:
            register_uuid(conn_or_curs=conn)  # type: ignore[no-untyped-call]
            cur.execute(self.shard.render(statement), values or None)
            return cur.fetchall() if cur.description else []

    def block(
        self,
        stream: str,
        records: Iterable[bytes | dict[str, Any]],
        at: int = 0,
        window: Window | None = None,
        business: int | None = None,
        integration: str = "acme",
    ) -> Manifest:
        """Commit a block observed `at` minutes after START."""
        owner = self.business if business is None else business
        source_id = make_id(owner, 1)
        with self.store.writer(owner, source_id, stream) as writer:
            for record in records:
                writer.write(record if isinstance(record, bytes) else json.dumps(record).encode())
        manifest = writer.manifest(
            integration=integration,
            integration_version="1",
            window=window or Window(complete=stream == "items"),
            cursor_before=None,
            cursor_after={},
            observed_at=START + timedelta(minutes=at),
            http=HttpEvidence(),
            created_by="test",
        )
        writer.commit(manifest)
        self.made.append(manifest)
        return manifest

    def load(self, *manifests: Manifest, specs: dict[str, IntegrationSpec] | None = None) -> LoadResult:
        return load_blocks(self.shard.dsn, self.shard.schemas, manifests, self.store, specs or SPECS)

    def current(self, stream: str) -> dict[tuple[int, str], Version]:
        """What `<stream>_current` shows, with the head's position, numbers as Decimal, volatile fields left out."""
        if not self.run(f"select to_regclass('{{raw}}_acme.{stream}')")[0][0]:
            return {}
        rows = self.run(
            "select c.source_id, c.natural_key, c.payload::text, h.modified_at::text, h.observed_at::text"
            f" from {{raw}}_acme.{stream}_current as c join {{raw}}.head as h"
            " on h.source_id = c.source_id and h.natural_key = c.natural_key and h.stream = %s",
            stream,
        )
        return {
            (source, key): Version(_stable(json.loads(payload, parse_float=Decimal)), modified, observed)
            for source, key, payload, modified, observed in rows
        }

    def books_balance(self) -> None:
        """The ledger's counts are those of the rows; no landing row is left; heads point at versions that exist."""
        for table in ("orders", "items", "spend"):
            if not self.run(f"select to_regclass('{{raw}}_acme.{table}')")[0][0]:
                continue
            assert not self.run(
                f"""
                select l.block_id, l.versions, count(v.version_id)
                from {{raw}}.loaded_blocks as l
                left join {{raw}}_acme.{table} as v
                    on v.block_id = l.block_id and v.generation = l.generation and v.operation = 'U'
                where l.stream = '{table}'
                group by l.block_id, l.generation having l.versions <> count(v.version_id)
                """
            )
            assert not self.run(
                f"""
                select h.natural_key from {{raw}}.head as h
                left join {{raw}}_acme.{table} as v using (version_id)
                where h.stream = '{table}' and (v.version_id is null or v.hash <> h.hash or v.operation <> 'U')
                """
            )
        assert not self.run(
            """
            select l.block_id from {raw}.loaded_blocks as l
            left join {raw}.quarantine as q on q.block_id = l.block_id and q.generation = l.generation
            group by l.block_id, l.generation
            having l.quarantined <> count(*) filter (where q.state = 'open')
                or l.discarded <> count(*) filter (where q.state = 'discarded')
            """
        )
        assert self.landing_rows() == 0

    def landing_rows(self) -> int:
        slots = self.run("select oid::regclass::text from pg_class where relname = 'landing' and relkind = 'r'")
        return sum(self.run(f"select count(*) from {name}")[0][0] for (name,) in slots)


def _stable(payload: Any) -> Any:
    if isinstance(payload, dict):
        return {name: value for name, value in payload.items() if name != "etag"}
    return payload


_UNREADABLE = ("no_key", "not_json")


@dataclass(frozen=True)
class Line:
    """A record of a generated block. `fault` is the reason it must be quarantined for."""

    key: str
    value: str
    modified: int | None = None
    day: str | None = None
    fault: str | None = None

    def encode(self, observed: int) -> bytes:
        """JSON; `modified` and `observed` are minutes after START."""
        if self.fault == "not_json":
            return b'{"id": "' + self.key.encode()
        parts = [f'"value":{self.value}', f'"etag":{observed}']
        if self.fault != "no_key":
            parts.insert(0, f'"id":"{self.key}"')
        if self.fault == "not_jsonb":
            parts.append('"note":"\\u0000"')
        if self.fault == "modified_in_future":
            parts.append('"changed":"2999-01-01T00:00:00Z"')
        elif self.modified is not None:
            parts.append(f'"changed":"{(START + timedelta(minutes=self.modified)).isoformat()}"')
        if self.day is not None:
            parts.append(f'"day":"{self.day}"')
        return ("{" + ",".join(parts) + "}").encode()


@dataclass(frozen=True)
class Sample:
    """A generated block, before it is written."""

    stream: str
    at: int
    lines: tuple[Line, ...]
    window: Window


_UNDATED = -(10**9)
Position = tuple[int, int, Any, int]
"""When it was modified, when it was observed (minutes after START), block, line: what is later wins."""


def _read(samples: Sequence[tuple[Sample, Manifest]], stream: str) -> Iterator[tuple[Line, str | None, Position]]:
    """The records of a stream: each with its key, None where it cannot be read, and its position."""
    for sample, manifest in samples:
        if sample.stream != stream:
            continue
        for ordinal, line in enumerate(sample.lines):
            key = f"{line.key}|{line.day}" if stream == "spend" else line.key
            modified = _UNDATED if line.modified is None or line.fault == "modified_in_future" else line.modified
            yield line, None if line.fault in _UNREADABLE else key, (modified, sample.at, manifest.block_id, ordinal)


def expected(samples: Sequence[tuple[Sample, Manifest]], stream: str) -> dict[str, tuple[str, str]]:
    """Key → (value as written, observed_at) that must be current after these blocks, whatever the order."""
    best: dict[str, tuple[Position, Line]] = {}
    seen: dict[str, int] = {}
    for line, key, position in _read(samples, stream):
        if key is None:
            continue
        seen[key] = max(seen.get(key, -1), position[1])
        if not line.fault and (key not in best or position > best[key][0]):
            best[key] = (position, line)
    windows = [
        (sample.window, sample.at)
        for sample, _ in samples
        if sample.stream == stream
        and sample.window.complete
        and not any(line.fault in _UNREADABLE for line in sample.lines)
    ]
    return {
        key: (line.value, _text(position[1]))
        for key, (position, line) in best.items()
        if not any(at > seen[key] and _covers(window, line) for window, at in windows)
    }


def set_aside(samples: Sequence[tuple[Sample, Manifest]], stream: str) -> list[tuple[str, str]]:
    """(reason, state) of every record of a stream that raw refuses, sorted, whatever the order of these blocks."""
    best: dict[str, Position] = {}
    seen: dict[str, int] = {}
    refused: list[tuple[str, str | None, Position]] = []
    tells_absence = stream != "orders"
    for line, key, position in _read(samples, stream):
        if line.fault:
            refused.append((line.fault, key, position))
        elif key is not None:
            best[key] = max(best.get(key, position), position)
        if key is not None and (not line.fault or tells_absence):
            seen[key] = max(seen.get(key, -1), position[1])

    def state(key: str | None, position: Position) -> str:
        if key not in best:
            return "open"
        is_later = best[key] > position if position[0] != _UNDATED else seen[key] > position[1]
        return "overtaken" if is_later else "open"

    return sorted((fault, state(key, position)) for fault, key, position in refused)


def _covers(window: Window, line: Line) -> bool:
    return window.start is None or bool(line.day and window.start <= line.day <= (window.end or ""))


def _text(at: int) -> str:
    return (START + timedelta(minutes=at)).strftime("%Y-%m-%d %H:%M:%S+00")


MakeShard = Callable[..., Shard]


def depot(make_shard: MakeShard, folder: Path, namespace: str = "") -> Depot:
    """A fresh shard and store."""
    return Depot(make_shard("shard_1", namespace), BlockStore(f"file://{folder}")).set_up()
