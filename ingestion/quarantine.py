"""Records that could not be loaded: look at them, try them again with today's checks, or give them up with a reason."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg2.extras import RealDictCursor, execute_values

from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import ConfigError, DataError, LarderError
from ingestion.gate import open_gate
from ingestion.load import Work, connect, load_works, stream_of
from ingestion.outcome import Failure, LoadResult
from ingestion.spec import IntegrationSpec

_LIST = "larder quarantine list"
FindManifest = Callable[[UUID], Manifest | None]
Group = tuple[int, str, str]
"""Records of a source's stream that were set aside for one reason: (source, stream, reason)."""


@dataclass(frozen=True)
class Standing:
    """How many of a group are open, and the block of the newest. `ended`, where none is: what became of the last."""

    group: Group
    records: int
    block: str | None = None
    ended: Literal["healed", "given up", "another cause"] | None = None


# Businesses that are on their way to another shard, or left a copy here, are told of where they are.
_HERE = """
inner join {keys}.route as r on r.business = {keys}.business_of(q.source_id) and r.state = 'active'
"""
_OPEN = f"""
select q.source_id, q.stream, q.reason, count(*), (array_agg(q.block_id::text order by q.quarantine_id desc))[1]
from {{raw}}.quarantine as q {_HERE}
where q.state = 'open' and (%s or (q.source_id, q.stream) in (select * from unnest(%s::bigint[], %s::text[])))
group by 1, 2, 3 order by 1, 2, 3
"""
_ENDED = f"""
select q.source_id, q.stream, q.reason, last.state
from (values %s) as q (source_id, stream, reason) {_HERE}
left join lateral (
    select was.state from {{raw}}.quarantine as was
    where was.source_id = q.source_id and was.stream = q.stream and was.reason = q.reason
    order by was.decided_at desc nulls last limit 1
) as last on true
"""
_BECAME: Mapping[str | None, Literal["healed", "given up", "another cause"]] = {
    "resolved": "healed", "overtaken": "healed", "discarded": "given up", None: "another cause",
}  # fmt: skip


def listed(
    shard_dsn: str,
    schemas: Mapping[str, str],
    state: str | None = "open",
    source_ids: Sequence[int] | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Quarantined records of one shard, newest first, without their payloads; of all states with `state=None`."""
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(
            "select quarantine_id, source_id, stream, natural_key, reason, detail, state, observed_at, quarantined_at,"
            f' block_id, ordinal from "{schemas["raw"]}".quarantine'
            " where (%(state)s is null or state = %(state)s) and (%(all)s or source_id = any(%(sources)s))"
            " order by quarantined_at desc, quarantine_id desc limit %(limit)s",
            {"state": state, "all": source_ids is None, "sources": list(source_ids or []), "limit": limit},
        )
        return [dict(row) for row in cur.fetchall()]


def standing(
    shard_dsn: str, schemas: Mapping[str, str], known: Collection[Group] = (), *, whole: bool = True
) -> list[Standing]:
    """The open groups of a shard, and those of `known` that have no open record any more.

    `whole=False` looks at the streams of `known` alone, by index.
    """
    names = {"raw": f'"{schemas["raw"]}"', "keys": f'"{schemas["keys"]}"'}
    asked = sorted({(source_id, stream) for source_id, stream, _ in known})
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(_OPEN.format(**names), (whole, [one[0] for one in asked], [one[1] for one in asked]))
        found = [Standing((source_id, stream, reason), n, block) for source_id, stream, reason, n, block in cur]
        over = sorted(set(known) - {one.group for one in found})
        rows = execute_values(cur, _ENDED.format(**names), over, "(%s::bigint, %s, %s)", fetch=True) if over else []
        ended = [Standing((row[0], row[1], row[2]), 0, ended=_BECAME[row[3]]) for row in rows]
    return found + ended


def shown(shard_dsn: str, schemas: Mapping[str, str], quarantine_id: int) -> dict[str, Any]:
    """Everything about one quarantined record; DataError if there is none of that id."""
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(f'select * from "{schemas["raw"]}".quarantine where quarantine_id = %s', (quarantine_id,))
        row = cur.fetchone()
    if row is None:
        raise DataError(f"there is no quarantined record {quarantine_id} on this shard", next_command=_LIST)
    return dict(row)


def retry(
    shard_dsn: str,
    schemas: Mapping[str, str],
    ids: Sequence[int],
    find_manifest: FindManifest,
    store: BlockStore,
    specs: Mapping[str, IntegrationSpec],
) -> LoadResult:
    """Check open records again, from the bytes of their blocks, and publish those that pass.

    What passes ends as it would have in a first load with today's checks, and moves in the ledger from quarantined to
    what became of it. What fails again keeps its row with today's reason: `result.total("quarantined")`.
    """
    result = LoadResult()
    works: list[Work] = []
    for block_id, generation, ordinals in _open_records(shard_dsn, schemas, ids):
        manifest = find_manifest(block_id)
        try:
            if manifest is None:
                raise DataError(f"block {block_id} is not in the index", next_command="larder blocks reindex")
            same = manifest.model_copy(update={"generation": generation})  # only the newest has open records
            works.append(Work(same, stream_of(manifest, specs), frozenset(ordinals)))
        except LarderError as error:
            business = manifest.business if manifest else 0
            result.failures.append(Failure(business, (block_id,), error))
    load_works(shard_dsn, schemas, works, store, result)
    return result


def _open_records(shard_dsn: str, schemas: Mapping[str, str], ids: Sequence[int]) -> list[tuple[UUID, int, list[int]]]:
    """The records by block and generation."""
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            f'select block_id, generation, array_agg(ordinal) from "{schemas["raw"]}".quarantine'
            " where quarantine_id = any(%s) and state = 'open' group by block_id, generation",
            (list(ids),),
        )
        return cur.fetchall()


def discard(shard_dsn: str, schemas: Mapping[str, str], business: int, ids: Sequence[int], reason: str) -> int:
    """Give up open records of one business for good; they stay to be looked at. Returns how many were open.

    Raises ConfigError without a reason.
    """
    if not reason.strip():
        raise ConfigError(
            "a record is given up only with a reason", next_command="larder quarantine discard <id> --reason '…'"
        )
    raw = schemas["raw"]
    with closing(connect(shard_dsn)) as conn, conn, conn.cursor() as cur:
        open_gate(cur, schemas["keys"], business)
        cur.execute(
            f"""
            with given_up as (
                update "{raw}".quarantine
                set state = 'discarded', decided_reason = %s, decided_at = clock_timestamp()
                where quarantine_id = any(%s) and state = 'open' and "{schemas["keys"]}".business_of(source_id) = %s
                returning block_id, generation
            ),

            counted as (select block_id, generation, count(*) as n from given_up group by 1, 2),

            accounted as (
                update "{raw}".loaded_blocks as l
                set quarantined = l.quarantined - c.n, discarded = l.discarded + c.n
                from counted as c
                where l.block_id = c.block_id and l.generation = c.generation
                returning c.n
            )

            select coalesce(sum(n), 0)::int from accounted
            """,
            (reason.strip(), list(ids), business),
        )
        row = cur.fetchone()
        return int(row[0]) if row else 0
