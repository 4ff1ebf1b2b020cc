"""A vendor's recorded pages: read, put in blocks by the engine's own code, loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import yaml
from pydantic import BaseModel, ConfigDict

from ingestion import index
from ingestion.blocks import BlockStore, HttpEvidence, Window
from ingestion.cursors import Span
from ingestion.draft import Draft
from ingestion.load import load_blocks
from ingestion.page import Page
from ingestion.reader import Lines
from ingestion.registry import discover, get
from ingestion.source import SourceRef, check_source, secrets_of
from sharding import maps
from sharding.catalogue import Catalogue
from sharding.model import Shard

NOW = datetime(2025, 6, 2, 12, tzinfo=UTC)
"""The clock of the build. Pages are read two days before, those of `later` one day before."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Business(_Model):
    """Whose pages these are. `currency`: it reports in it."""

    name: str
    currency: str = "USD"
    time_zone: str | None = None  # of `locations` that say none


class Location(_Model):
    """One of the business's own, decided before the first record: which of the vendor's things are its."""

    location: list[str] = []  # keys of the vendor's sites
    campaign: list[str] = []
    time_zone: str | None = None
    day_start: str | None = None  # such as `4 hours`
    overtime_weekly_hours: str | None = None
    overtime_multiplier: str | None = None

    @property
    def things(self) -> dict[maps.Entity, list[str]]:
        return {"location": self.location, "campaign": self.campaign}


class Settings(_Model):
    """What source.yml says."""

    business: Business
    config: dict[str, Any] = {}  # settings of the source
    context: dict[str, dict[str, str]] = {}  # of a stream, or of one of its pages (`stream.n`)
    window: dict[str, tuple[str, str]] = {}  # of a stream with complete windows: what was asked for, in its format
    locations: dict[str, Location] = {}


@dataclass(frozen=True)
class Recording:
    """One vendor's folder."""

    vendor: str
    folder: Path
    settings: Settings

    @classmethod
    def read(cls, folder: Path) -> Recording:
        text = (folder / "source.yml").read_text()
        return cls(folder.name, folder, Settings.model_validate(yaml.safe_load(text)))

    @cached_property
    def expected(self) -> dict[str, list[dict[str, str | None]]]:
        """Relation → rows, every value as it is written."""
        written = yaml.load((self.folder / "expected.yml").read_text(), Loader=yaml.BaseLoader)
        return {
            relation: [{column: None if value == "null" else value for column, value in row.items()} for row in rows]
            for relation, rows in written.items()
        }

    def pages(self, later: bool) -> dict[str, list[Path]]:
        """Stream → its pages in order."""
        found: dict[str, list[Path]] = {}
        paths = (self.folder / "later" if later else self.folder).glob("*.json")
        for path in sorted(paths, key=lambda path: [int(n) for n in re.findall(r"\.(\d+)\.json$", path.name)]):
            found.setdefault(path.name.partition(".")[0], []).append(path)
        unknown = sorted(set(found) - {stream.name for stream in get(self.vendor).streams})
        assert not unknown, f"{self.vendor} has no stream {unknown[0]!r}"
        return found

    def context(self, page: Path, stream: str) -> dict[str, str]:
        return self.settings.context.get(page.stem) or self.settings.context.get(stream) or {}


def connect(catalogue: Catalogue, recording: Recording, number: int) -> SourceRef:
    """The vendor's business and source, its settings checked as the engine does."""
    business, spec = recording.settings.business, get(recording.vendor)
    catalogue.add_business(recording.vendor, business.name, "shard_1", 1, business.currency, number)
    config = recording.settings.config
    added = catalogue.add_source(recording.vendor, recording.vendor, recording.vendor, config)
    secret = dict.fromkeys(secrets_of(spec), "not-asked-for")
    source = SourceRef(added.id, number, recording.vendor, recording.vendor, recording.vendor, config, secret)
    check_source(source, spec)
    return source


def decide(shard: Shard, source: SourceRef, recording: Recording) -> None:
    """The business's own locations, which of the vendor's things are theirs, and their settings."""
    with closing(psycopg2.connect(shard.dsn)) as conn, conn:
        for name, wanted in recording.settings.locations.items():
            with conn.cursor() as cur:
                location = maps.add_target(cur, shard, "location", source.business, name)
                things = {entity: [maps.expect_thing(cur, shard, entity, source.source_id, key) for key in keys]
                          for entity, keys in wanted.things.items()}  # fmt: skip
            for entity, ids in things.items():
                for thing in ids:
                    maps.set_map(conn, shard, entity, thing, location, "recorded")
            said = {
                "timezone": wanted.time_zone or recording.settings.business.time_zone,
                **wanted.model_dump(include={"day_start", "overtime_weekly_hours", "overtime_multiplier"}),
            }
            changes = {field: value for field, value in said.items() if value is not None}
            if changes:
                maps.set_setting(conn, shard, location, "recorded", changes)


def write_blocks(catalogue: Catalogue, store: BlockStore, source: SourceRef, recording: Recording) -> None:
    """A block of each stream's pages, and one of those of `later`."""
    for later in (False, True):
        observed_at = NOW - timedelta(days=1 if later else 2)
        for name, pages in recording.pages(later).items():
            with closing(index.connect(catalogue.dsn)) as conn:
                _write_block(conn, store, source, recording, name, pages, observed_at)


def _write_block(
    conn: Any, store: BlockStore, source: SourceRef, recording: Recording, name: str, pages: list[Path], at: datetime
) -> None:
    spec = get(recording.vendor)
    stream = spec.stream(name)
    draft = Draft(conn, store, source, spec, stream)
    lines = Lines(spec, stream, frozenset(), Span(None, None, at), lambda record: record)
    for path in pages:
        page = Page(path.read_bytes(), {}, str(path), source.extract_command)
        context = recording.context(path, name)
        missing = sorted(set(stream.context) - set(context))
        assert not missing, f"{path}: source.yml gives no context {missing[0]!r}"
        content, count = lines.of(page, _json(context))
        draft.append(content, count)
    window = recording.settings.window.get(name, (None, None))
    whole = stream.deletes == "snapshot" or stream.sweep is not None
    complete = whole or (stream.complete and window[0] is not None)
    draft.commit(
        started_at=at,
        window=Window(start=window[0], end=window[1], complete=complete),
        sites=(),
        before=None,
        after={},
        observed_at=at,
        http=HttpEvidence(),
    )


def _json(context: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(context) if context else b""


def load(catalogue: Catalogue, shard: Shard, store: BlockStore, source: SourceRef) -> list[str]:
    """Load the source's blocks; what could not be loaded, in words."""
    with closing(index.connect(catalogue.dsn)) as conn:
        manifests = index.pending(conn, [source.source_id])
    result = load_blocks(shard.dsn, shard.schemas, manifests, store, discover())
    with closing(psycopg2.connect(shard.dsn)) as conn, conn.cursor() as cur:
        cur.execute(
            "select stream, ordinal, reason, detail from raw.quarantine where source_id = %s", (source.source_id,)
        )
        refused = [f"{stream} record {ordinal}: {reason}: {detail}" for stream, ordinal, reason, detail in cur]
    return [failure.error.cause for failure in result.failures] + refused
