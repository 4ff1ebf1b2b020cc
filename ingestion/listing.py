"""Blocks by what they are: whose, of which window, in which state."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor

from ingestion.blocks import Manifest
from ingestion.spec import IntegrationSpec
from ingestion.windows import bounds

State = Literal["pending", "loaded", "failed"]
_FETCH = 200


@dataclass(frozen=True)
class Wanted:
    """Which blocks. None: any. `window`: those whose window has something of [start, end), or, of a stream that is read
    whole, that were read in it. `error`: a part of the text of a load's or an upload's error."""

    source_ids: Sequence[int] | None = None
    stream: str | None = None
    window: tuple[datetime | None, datetime | None] = (None, None)
    state: State | None = None
    error: str | None = None
    among: Sequence[UUID] | None = None
    before: UUID | None = None  # only older ones: the next page


@dataclass(frozen=True)
class Listed:
    """A block as the index knows it."""

    manifest: Manifest
    state: State
    loaded_at: datetime | None
    error: str | None  # of its last load
    attempts: int  # that failed
    copied_at: datetime | None
    copy_error: str | None


def listed(conn: Connection, wanted: Wanted, specs: Mapping[str, IntegrationSpec]) -> Generator[Listed, None, None]:
    """The blocks, newest first, as they are fetched: whoever has enough closes it."""
    with conn, conn.cursor("blocks", cursor_factory=RealDictCursor) as cur:
        cur.itersize = _FETCH
        cur.execute(
            """
            select b.manifest, b.loaded_at, f.cause as error, coalesce(f.attempts, 0) as attempts,
                u.verified_at as copied_at, u.error as copy_error,
                case when b.loaded_at is not null then 'loaded' when f.block_id is not null then 'failed'
                    else 'pending' end as state
            from control.blocks as b
            left join control.block_failures as f using (block_id)
            left join control.block_uploads as u using (block_id)
            where (%(sources)s::bigint[] is null or b.source_id = any(%(sources)s))
                and (%(stream)s is null or b.stream = %(stream)s)
                and (%(among)s::uuid[] is null or b.block_id = any(%(among)s::uuid[]))
                and (%(before)s::uuid is null or b.block_id < %(before)s::uuid)
                and (%(error)s is null or strpos(lower(concat_ws(' ', f.cause, u.error)), lower(%(error)s)) > 0)
                and (%(state)s is null or %(state)s = case
                    when b.loaded_at is not null then 'loaded' when f.block_id is not null then 'failed'
                    else 'pending' end)
            order by b.block_id desc
            """,
            {
                "sources": None if wanted.source_ids is None else list(wanted.source_ids),
                "stream": wanted.stream,
                "among": None if wanted.among is None else [str(block_id) for block_id in wanted.among],
                "before": None if wanted.before is None else str(wanted.before),
                "error": wanted.error,
                "state": wanted.state,
            },
        )
        for row in cur:
            block = _listed(row)
            if wanted.window == (None, None) or _overlaps(block.manifest, wanted, specs):
                yield block


def _listed(row: Mapping[str, Any]) -> Listed:
    fields = dict(row)
    return Listed(Manifest.model_validate(fields.pop("manifest")), **fields)


def _overlaps(manifest: Manifest, wanted: Wanted, specs: Mapping[str, IntegrationSpec]) -> bool:
    try:
        start, end = bounds(manifest, specs[manifest.integration].stream(manifest.stream))
    except KeyError:  # an integration that is no longer here
        start, end = None, None
    first, last = wanted.window
    start, end = start or manifest.observed_at, end or manifest.observed_at
    return (last is None or start < last) and (first is None or end > first or start == end == first)
