"""A reimport from the first question to the last summary: which days, what would change, and the change.

The days are the business's: from the earliest day start of its locations to the latest. What is adopted is bulk, which
the cycle takes in parts, each behind whatever is fresh on the shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg2

from ingestion.blocks import BlockStore, Manifest
from ingestion.clock import Clock
from ingestion.preview import Preview, preview
from ingestion.registry import discover, spec_of
from ingestion.reimport import MAX_RECORDS, Asked, Reread, adopt, read_again, streams_of
from ingestion.run import Options, Progress
from ingestion.work_folder import work_folder
from orchestration.sources import source_ref
from sharding.catalogue import Catalogue
from sharding.model import LOADER, Shard, Source

PREFIX = "larder-reimport-"


@dataclass(frozen=True)
class Zone:
    """A location's time zone and day start."""

    timezone: str
    day_start: timedelta

    def begins(self, day: date) -> datetime:
        """The instant at which a business day begins."""
        return (datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.timezone)) + self.day_start).astimezone(UTC)

    def day_of(self, at: datetime) -> date:
        """The business day of an instant."""
        return (at.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None) - self.day_start).date()


_UTC = Zone("UTC", timedelta(0))


@dataclass
class Reimport:
    """One source's days, read again."""

    catalogue: Catalogue
    store: BlockStore
    clock: Clock
    source: Source
    home: Path

    def zones(self) -> list[Zone]:
        """Of the business's locations, as they are set now; UTC where none is known yet."""
        shard = self.shard
        with closing(psycopg2.connect(shard.as_role(LOADER).dsn)) as conn, conn, conn.cursor() as cur:
            keys = shard.schemas["keys"]
            cur.execute(
                f'select distinct timezone, day_start from "{keys}".location_setting'
                f' where "{keys}".business_of(location_id) = %s and valid_to > current_date',
                (self.source.business,),
            )
            return [Zone(*row) for row in cur.fetchall()] or [_UTC]

    @property
    def shard(self) -> Shard:
        """Where the business lives now."""
        return self.catalogue.shard(self.source.shard)

    def days(self, first: date, last: date) -> Asked:
        """Business days, both included, at all locations."""
        zones = self.zones()
        start, end = min(z.begins(first) for z in zones), max(z.begins(last + timedelta(days=1)) for z in zones)
        return Asked(start, end, first, last)

    def run(
        self,
        asked: Asked,
        streams: Sequence[str] | None,
        patience: float,
        progress: Progress | None = None,
    ) -> Running:
        """Read the window and say what it would change. Use as a context manager."""
        return Running(self, asked, streams, patience, progress)


class Running:
    """What was read, aside until `adopt`, or until the context ends."""

    def __init__(
        self,
        reimport: Reimport,
        asked: Asked,
        streams: Sequence[str] | None,
        patience: float,
        progress: Progress | None,
    ) -> None:
        self._of, self._asked, self._streams = reimport, asked, streams
        self._options = Options(force=True, heed=False, patience=patience, progress=progress, max_records=MAX_RECORDS)
        self.reread: list[Reread] = []
        self.preview = Preview()

    def __enter__(self) -> Running:
        of = self._of
        self._folder = work_folder(PREFIX, of.home / "reimports")
        self._aside = BlockStore(f"file://{self._folder.__enter__()}")
        try:
            ref = source_ref(of.catalogue, of.source)
            spec = spec_of(ref.integration, ref.config, ref.check_command)
            self.reread = read_again(
                ref, spec, streams_of(spec, self._streams), self._asked, self._aside, of.catalogue.dsn, of.clock,
                self._options,
            )  # fmt: skip
            if self.manifests:
                zone, shard = of.zones()[0], of.shard
                dsn = shard.as_role(LOADER).dsn
                self.preview = preview(dsn, shard.schemas, self.manifests, self._aside, discover(), zone.day_of)
        except BaseException as error:
            self._folder.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.__exit__(None, None, None)

    @property
    def manifests(self) -> list[Manifest]:
        """The blocks that were read."""
        return [manifest for one in self.reread for manifest in one.manifests]

    def adopt(self) -> list[Manifest]:
        """Take the blocks in: they are pending from now on."""
        return adopt(self._of.catalogue.dsn, self._of.store, self._aside, self.manifests)
