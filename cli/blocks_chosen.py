"""Which blocks a command is about: by id, or by whose and of which window they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

from cli.times import moment
from sharding.errors import LarderError
from sharding.model import INSPECTOR

if TYPE_CHECKING:
    from cli.context import Context
    from ingestion.blocks import Manifest
    from ingestion.listing import Wanted
    from sharding.model import Shard

_LIST = "larder blocks list"
STATES = ("pending", "loaded", "failed", "quarantined")


def block_id(text: str) -> UUID:
    """A block's id as typed; LarderError for what is none."""
    try:
        return UUID(text)
    except ValueError as error:
        raise LarderError(f"{text!r} is not a block id", "you", _LIST) from error


def found(context: Context, block: UUID) -> Manifest:
    """The manifest of a block of the index; LarderError if it is not there."""
    from ingestion.index import connect, find_block
    from ingestion.retention import retired

    with closing(connect(context.catalogue.dsn)) as conn:
        manifest = find_block(conn, block)
        given_up = retired(conn, block) if manifest is None else None
    if given_up is not None:
        at, reason = given_up
        raise LarderError(f"block {block} was given up on {at:%Y-%m-%d}: {reason}", "you", _LIST)
    if manifest is None:
        raise LarderError(f"there is no block {block}", "you", _LIST)
    return manifest


def wanted(
    context: Context,
    business: str | None = None,
    source: str | None = None,
    stream: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    state: str | None = None,
    error: str | None = None,
    before: str | None = None,
) -> tuple[Wanted, Mapping[UUID, int]]:
    """A selection as typed; and, where it is of quarantined ones, how many open records each block has."""
    from ingestion.listing import Wanted

    if state not in (None, *STATES):
        raise LarderError(f"no state {state!r}; there are {', '.join(STATES)}", "you", f"{_LIST} --state loaded")
    ids: list[int] | None = None
    if source is not None:
        ids = [context.catalogue.source(source).id]
    elif business is not None:
        ids = [one.id for one in context.catalogue.sources(business=business)]
    window = (
        None if from_ is None else moment(from_),
        None if to is None else moment(to, end=True, option="--to"),
    )
    aside = open_records(context, ids) if state == "quarantined" else {}
    return (
        Wanted(
            source_ids=ids, stream=stream, window=window, error=error,
            state=None if state == "quarantined" else state,  # type: ignore[arg-type]
            among=list(aside) if state == "quarantined" else None,
            before=None if before is None else block_id(before),
        ),
        aside,
    )  # fmt: skip


def chosen(context: Context, blocks: Sequence[str], selection: Wanted | None) -> list[Manifest]:
    """The blocks that are named, or all of a selection, oldest first.

    Raises LarderError, turn `you`, where nothing was asked for or nothing is found.
    """
    from ingestion.index import connect
    from ingestion.listing import listed
    from ingestion.registry import discover

    if blocks:
        return sorted((found(context, block_id(one)) for one in dict.fromkeys(blocks)), key=lambda m: m.block_id)
    if selection is None:
        raise LarderError("name blocks, or choose them by --source, --from and --to", "you", _LIST)
    with closing(connect(context.catalogue.dsn)) as conn:
        manifests = [one.manifest for one in listed(conn, selection, discover())]
    if not manifests:
        raise LarderError("no block is like that", "you", _LIST)
    return manifests[::-1]


def by_shard(context: Context, manifests: Sequence[Manifest]) -> list[tuple[Shard, list[Manifest]]]:
    """Blocks by the shard on which their business lives."""
    at = {one.id: one.shard for one in context.catalogue.sources()}
    groups: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        shard = at.get(int(manifest.source_id))
        if shard is None:
            cause = f"block {manifest.block_id} is of source {manifest.source_id}, which is not in the catalogue"
            raise LarderError(cause, "you", "larder source list")
        groups.setdefault(shard, []).append(manifest)
    return [(context.catalogue.shard(name), group) for name, group in sorted(groups.items())]


def open_records(context: Context, source_ids: Sequence[int] | None) -> Mapping[UUID, int]:
    """How many records of each block wait in quarantine, over all shards."""
    from ingestion.load import connect

    sources = [one for one in context.catalogue.sources() if source_ids is None or one.id in source_ids]
    counts: Counter[UUID] = Counter()
    for name in sorted({one.shard for one in sources}):
        shard = context.catalogue.shard(name)
        with closing(connect(shard.as_role(INSPECTOR).dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(
                f'select block_id, count(*) from "{shard.schemas["raw"]}".quarantine'
                " where state = 'open' and source_id = any(%s) group by block_id",
                ([one.id for one in sources if one.shard == name],),
            )
            counts.update(dict(cur.fetchall()))
    return counts
