"""Erasing a business: everything that this installation holds of it, journaled, and confirmed in writing.

Each part is counted before it is taken away, and what was counted is kept, so a run that is killed goes on and its
confirmation is whole. The business's row in the control database goes last, together with all that names it there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ingestion import index
from ingestion.erasing import erase_blocks, held, sweep_landing
from ingestion.errors import LarderError as IngestionError
from ingestion.registry import spec_of
from orchestration.cycle import Installation
from orchestration.moves import build_shard, mover
from sharding.access.tenants import revoke_access
from sharding.credentials import write_secret
from sharding.erasing import control
from sharding.erasing.control import Erasure
from sharding.erasing.secrets import delete_files, secrets_of, uploads_of
from sharding.erasing.shards import count, erase_from_shard, part, retired_shards
from sharding.erasing.traces import connect, traces
from sharding.errors import LarderError
from sharding.model import Business, Shard, Source
from sharding.moving.journal import Journal, Move, moves
from sharding.moving.mover import Rest
from sharding.settings import Settings

_WAIT_MS = 60_000
"""How long an extract of the business that runs is waited for."""
POINTS = (
    "paused", "counted", "closed", "rows gone", "traces gone", "shards done", "blocks gone", "files gone", "forgotten",
)  # fmt: skip
"""Where a kill leaves another state behind, in order; each is played in tests."""


@dataclass(frozen=True)
class Eraser:
    """Erases one business of an installation. `reached` is told each point of `POINTS`."""

    at: Installation
    settings: Settings
    say: Callable[[str], None] = lambda text: None
    reached: Callable[[str], None] = lambda point: None

    def plan(self, name: str) -> dict[str, Any]:
        """What would be removed; changes nothing."""
        business = self.at.catalogue.business(name)
        found: dict[str, Any] = {}
        for shard in self._shards():
            with closing(connect(shard)) as conn:
                found[f"shard {shard.name}"] = traces(conn, shard, business.id, self._beside(shard))
        return found | self._files(business)

    def erase(self, name: str) -> Erasure:
        """Erase the business, or go on with its erasure. Returns what was removed.

        Raises:
            LarderError: what stood in the way; run again, it goes on.
        """
        catalogue = self.at.catalogue
        erasure = control.begin(catalogue, name)
        if not erasure.done:
            business = catalogue.business(erasure.business)
            self.reached("paused")
            erasure = self._count(erasure, business)
            self.reached("counted")
            self._settle_move(business)
            with Journal.driving(catalogue, business), self._no_extracts(catalogue.sources(business.id)):
                erasure = self._erase(erasure, business)
        path = self.write_confirmation(erasure)
        self.say(f"{erasure.name} (business {erasure.business}) is erased; confirmation: {path}")
        return erasure

    def _erase(self, erasure: Erasure, business: Business) -> Erasure:
        catalogue = self.at.catalogue
        if revoke_access(catalogue, business.id):
            self.say("its read role is gone")
        for shard in self._shards():
            with closing(connect(shard)) as conn:
                sweep_landing(conn, shard.schema("raw"))
            erase_from_shard(erasure, shard, self._beside(shard), lambda s: build_shard(self.at, s), self.reached)
            rows = sum(erasure.removed[part(shard)].values())
            self.say(f"{shard.name}: {rows:,} rows" if rows else f"{shard.name}: nothing")
        self.reached("shards done")
        erase_blocks(self.at.store, business.id)
        self.reached("blocks gone")
        delete_files(erasure.removed["secrets"]["files"], uploads_of(business.name, self.settings))
        self.reached("files gone")
        erasure = control.finish(catalogue, erasure)
        self.reached("forgotten")
        return erasure

    def _count(self, erasure: Erasure, business: Business) -> Erasure:
        for name, found in self._files(business).items():
            erasure = control.note(self.at.catalogue, erasure, name, found)
        for shard in self._shards():
            erasure = count(self.at.catalogue, erasure, shard, self._beside(shard))
        return erasure

    def _settle_move(self, business: Business) -> None:
        """A move that has begun is ended first: what it keeps and what it put aside is its own to clear away."""
        way = mover(self.at, business.id, self.say)
        while found := moves(self.at.catalogue, business.id, open_only=True):
            rest: Rest = way.rest() or ("finish" if found[0].state == "flipped" else "abort")
            acts: dict[Rest, Callable[[], Move]] = {
                "move": way.move, "roll_back": way.roll_back, "finish": way.finish, "abort": way.abort,
            }  # fmt: skip
            acts[rest]()

    def write_confirmation(self, erasure: Erasure) -> Path:
        """Write what was removed to `<home>/erasures/`; again, the same."""
        path = self.settings.home / "erasures" / f"business-{erasure.business}.json"
        told = {
            "erased": erasure.name,
            "number": erasure.business,
            "begun_at": erasure.begun_at.astimezone(UTC).isoformat(),
            "finished_at": (erasure.finished_at or datetime.now(UTC)).astimezone(UTC).isoformat(),
            "removed": erasure.removed,
            "not reached from here": NOT_REACHED + list(erasure.removed["secrets"]["elsewhere"]),
        }
        write_secret(path, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        return path

    def _files(self, business: Business) -> dict[str, Any]:
        uploads = uploads_of(business.name, self.settings)
        files = [path for path in uploads.rglob("*") if path.is_file()] if uploads.exists() else []
        return {
            "blocks": [asdict(one) for one in held(self.at.store, business.id)],
            "secrets": asdict(secrets_of(self.at.catalogue, business, self.settings)),
            "uploads": {"files": len(files), "bytes": sum(path.stat().st_size for path in files)},
        }

    def _shards(self) -> list[Shard]:
        return [*self.at.catalogue.shards(), *retired_shards(self.at.catalogue)]

    def _beside(self, shard: Shard) -> list[Shard]:
        place = (shard.host, shard.port, shard.database)
        return [s for s in self._shards() if s.name != shard.name and (s.host, s.port, s.database) == place]

    @contextmanager
    def _no_extracts(self, sources: Sequence[Source]) -> Iterator[None]:
        """No extract of these sources runs, nor begins: each of their streams is ours until the end."""
        with ExitStack() as locks:
            conn = locks.enter_context(closing(index.connect(self.at.catalogue.dsn)))
            for source in sources:
                for stream in self._streams(source):
                    if not index.lock_stream(conn, source.id, stream, wait_ms=_WAIT_MS):
                        raise LarderError(
                            f"an extract of {source.label} runs", "you", f"larder business erase {source.business_name}"
                        )
            yield

    def _streams(self, source: Source) -> set[str]:
        """The streams that the source has by its integration, and those it had."""
        try:
            streams = {
                stream.name for stream in spec_of(source.integration, source.config, "larder source list").streams
            }
        except IngestionError:  # the integration is gone; its cursors tell
            streams = set()
        with self.at.catalogue.connect() as connection, connection.cursor() as cursor:
            cursor.execute("select stream from control.cursors where source_id = %s", (source.id,))
            return streams | {stream for (stream,) in cursor.fetchall()}


NOT_REACHED = [
    "backups of the databases and of the block store",
    "write-ahead logs that are archived, and logs of the servers",
    "copies that were exported before",
]
"""What no command of ours can look into; the confirmation names it."""
