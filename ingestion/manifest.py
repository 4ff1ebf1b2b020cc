"""A block's manifest: its commit, and all that is known about it."""

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

DATA_SUFFIX = ".jsonl.zst"
MANIFEST_SUFFIX = ".manifest.json"
RETIRED_SUFFIX = ".retired.json"  # a block that was given up (ingestion/retention.py)
PIECE_BYTES = 1 << 20
REIMPORT = "larder reimport"  # who made blocks that have no part in the stream's cursor


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(_Model):
    """What was asked for. Ends in the stream's own format; both None: everything. `complete`: read to its end, so a
    key of the window that is not in the block was gone at `observed_at`."""

    start: str | None = None
    end: str | None = None
    complete: bool = False


class HttpEvidence(_Model):
    """How the block was fetched, without secrets."""

    requests: int = 0
    retries: int = 0
    statuses: dict[str, int] = {}
    first_url: str = ""
    last_url: str = ""


class Manifest(_Model):
    """The commit of a block, and all that is known about it."""

    block_id: UUID
    generation: int = 1
    business: int
    source_id: str  # text: 64 bits do not survive every JSON reader
    integration: str
    integration_version: str
    stream: str
    window: Window
    sites: tuple[str, ...] = ()
    cursor_before: dict[str, Any] | None
    cursor_after: dict[str, Any]
    records: int
    bytes: int
    compressed_bytes: int
    sha256: str  # of the uncompressed bytes
    file_sha256: str
    file_crc32: tuple[int, ...] = ()  # of each MiB of the file: tells where it is damaged
    observed_at: datetime
    http: HttpEvidence
    created_by: str
    lane: Literal["fresh", "bulk"] = "fresh"  # bulk, such as a reimport's, waits for what is fresh

    @property
    def path(self) -> str:
        """Path of the manifest within the store."""
        return f"{block_stem(self.business, int(self.source_id), self.stream, self.block_id)}{MANIFEST_SUFFIX}"

    @property
    def data_path(self) -> str:
        """Path of the data file within the store."""
        return f"{block_stem(self.business, int(self.source_id), self.stream, self.block_id)}{DATA_SUFFIX}"

    @property
    def is_reimport(self) -> bool:
        """Whether it was read again by request, beside the stream's cursor."""
        return self.created_by == REIMPORT


def block_stem(business: int, source_id: int, stream: str, block_id: UUID) -> str:
    """Path of a block without suffix. The hour is that of the id, so path and id cannot disagree."""
    created = datetime.fromtimestamp((block_id.int >> 80) / 1000, UTC)
    return f"{business}/{source_id}/{stream}/{created:%Y/%m/%d/%H}/{block_id}"
