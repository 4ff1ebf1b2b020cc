"""One reconciliation: every source of a business, blocks beside raw, facts and summaries."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import psycopg2
import yaml

from reconcile import compare
from reconcile.compare import Cell, LedgerProblem, RawDifference, Sums
from reconcile.model import Receipts, Sites
from reconcile.reader import (
    Folded,
    ReceiptError,
    StoredBlock,
    StreamRules,
    fold,
    instant,
    stored,
)  # fmt: skip

INTEGRATIONS = Path(__file__).parent.parent / "ingestion" / "integrations"
DATA = "data"  # files and databases: their streams are their sources' own


class SourceLike(Protocol):
    """What the auditor needs to know of a source (sharding.catalogue.Source has it)."""

    @property
    def id(self) -> int: ...
    @property
    def business(self) -> int: ...
    @property
    def integration(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


class ShardLike(Protocol):
    """Where a business's rows are (sharding.catalogue.Shard has it)."""

    @property
    def dsn(self) -> str: ...
    def schema(self, name: str) -> str: ...


@dataclass(frozen=True)
class Difference:
    """One amount that is not the same on every side. A side that does not hold the measure is None."""

    source: str
    cell: Cell
    blocks: Decimal
    facts: Decimal | None
    summaries: Decimal | None


@dataclass(frozen=True)
class SourceResult:
    """What was compared for one source, and what did not agree.

    `quarantined`: records that are set aside and open. `damage`: its blocks cannot be read, nothing was.
    """

    source: str
    integration: str
    blocks: int
    records: int
    keys: int
    quarantined: int
    cells: int
    sums: Sums
    raw: list[RawDifference] = field(default_factory=list)
    ledger: list[LedgerProblem] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    identity: list[tuple[Cell, Decimal, Decimal]] = field(default_factory=list)
    damage: ReceiptError | None = None

    @property
    def equal(self) -> bool:
        """Whether every side agrees to the cent."""
        return not (self.damage or self.raw or self.ledger or self.differences or self.identity)


@dataclass(frozen=True)
class Reconciliation:
    """The results of one business's sources, and the business-wide comparison with the summaries."""

    business: str
    sources: list[SourceResult]
    summaries: list[Difference]

    @property
    def equal(self) -> bool:
        """Whether everything agrees."""
        return not self.summaries and all(s.equal for s in self.sources)


def folder_of(integration: str) -> Path:
    """Where an integration is: with the others, or in a folder of LARDER_INTEGRATIONS_PATH."""
    outside = [Path(part) for part in os.environ.get("LARDER_INTEGRATIONS_PATH", "").split(os.pathsep) if part]
    found = [folder / integration for folder in outside if (folder / integration / "integration.yml").exists()]
    return (found or [INTEGRATIONS / integration])[0]


def streams_of(integration: str) -> list[Mapping[str, Any]]:
    """The streams of `integration.yml`, as plain data."""
    spec = yaml.safe_load((folder_of(integration) / "integration.yml").read_text())
    streams: list[Mapping[str, Any]] = spec["streams"]
    return streams


def data_streams(names: Iterable[str]) -> list[Mapping[str, Any]]:
    """The streams of files and databases, which are all of one shape: mapped rows by their key."""
    shape = {
        "natural_key": "key",
        "volatile": ["file", "line"],
        "deletes": "complete_window",
        "window_field": "window",
        "cursor": {"format": "iso_offset"},
    }
    return [{"name": name, **shape} for name in names]


def receipts_of(integration: str) -> Receipts:
    """What adds up an integration's receipts; ReceiptError where nobody has written it."""
    outside = folder_of(integration).parent != INTEGRATIONS
    name = f"ingestion.integrations.{integration}.receipts"
    try:
        module = _outside(folder_of(integration) / "receipts.py") if outside else importlib.import_module(name)
        found: Receipts = module.receipts
    except (ModuleNotFoundError, FileNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != name:
            raise
        raise ReceiptError(
            f"{integration} has no receipts.py to be compared by", "larder integration list", "us"
        ) from error
    return found


def _outside(file: Path) -> ModuleType:
    """A module of a folder that is no package."""
    spec = importlib.util.spec_from_file_location(f"receipts_of_{file.parent.name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(
    business: str, sources: Sequence[SourceLike], shard: ShardLike, store_url: str, now: datetime, copies: str = ""
) -> Reconciliation:
    """Reconcile one business.

    Args:
        business: its name, for the report.
        sources: all its sources.
        shard: the shard it lives on, by a role that may read it.
        store_url: fsspec URL of the block store.
        now: the vendors' clock, up to which an open punch counts.
        copies: URL of the object store that has copies of the blocks; read where a file is no longer in the store.

    Raises:
        ReceiptError: when the shard's facts are not built yet, or when a manifest is damaged, so that it is not known
            whose it is. A damaged block is its source's alone (`SourceResult.damage`); the summaries of the business
            are then not compared.
    """
    kept = stored(store_url, sources[0].business if sources else None, copies)
    blocks: dict[int, list[StoredBlock]] = defaultdict(list)
    for block in kept.blocks:
        blocks[block.source_id].append(block)

    def audited(cursor: Any, source: SourceLike) -> SourceResult:
        mine = blocks[source.id]
        try:
            return _source(cursor, shard, source, mine, kept.given_up, store_url, now)
        except ReceiptError as damage:
            read = sum(b.records for b in mine)
            return SourceResult(source.name, source.integration, len(mine), read, 0, 0, 0, {}, damage=damage)

    # One snapshot for all sides: a cycle that commits meanwhile cannot show as a difference.
    with psycopg2.connect(shard.dsn) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            _check_built(cursor, shard)
            results = [audited(cursor, source) for source in sources]
            summaries = _business_wide(cursor, shard, business, sources, results)
    return Reconciliation(business, results, summaries)


def _check_built(cursor: Any, shard: ShardLike) -> None:
    tables = [f"{shard.schema('marts')}.{q.table}" for q in (*compare.FACTS, *compare.SUMMARIES)]
    cursor.execute("select t from unnest(%s) as t where to_regclass(t) is null limit 1", (tables,))
    missing = cursor.fetchone()
    if missing:
        raise ReceiptError(f"there is no {missing[0]} to compare with the receipts yet", "larder build", turn="you")


def _source(
    cursor: Any,
    shard: ShardLike,
    source: SourceLike,
    blocks: list[StoredBlock],
    given_up: Mapping[str, int],
    store_url: str,
    now: datetime,
) -> SourceResult:
    raw = shard.schema("raw")
    loaded = compare.loaded_block_ids(cursor, raw, source.id)
    streams: dict[str, Folded] = {}
    raw_differences: list[RawDifference] = []
    quarantined = 0
    told = sorted({block.stream for block in blocks})
    for stream in data_streams(told) if source.integration == DATA else streams_of(source.integration):
        name = stream["name"]
        set_aside = compare.quarantined_places(cursor, raw, source.id, name)
        quarantined += sum(set_aside.values())
        rules = StreamRules.of(stream)
        folded = fold(
            store_url,
            # Blocks still waiting to be loaded are reported by the ledger check, not as missing money.
            [b for b in blocks if b.stream == name and b.block_id in loaded],
            rules,
            set_aside,
        )
        streams[name] = folded
        table = f"{raw}_{source.integration}.{name}_current"
        raw_differences += compare.raw_differences(cursor, table, source.id, name, folded, rules.volatile)
    receipts = receipts_of(source.integration)
    records = {name: [s.payload for s in folded.current.values()] for name, folded in streams.items()}
    sites: Sites = compare.sites_of(cursor, shard.schema("keys"), source.id)
    sums = compare.summed(receipts(records, sites, now))
    facts = compare.facts(cursor, shard.schema("marts"), source.id)
    in_store = {block_id: records for block_id, records in given_up.items() if block_id in loaded}
    in_store |= {b.block_id: b.records for b in blocks}
    return SourceResult(
        source=source.name,
        integration=source.integration,
        blocks=len(blocks),
        records=sum(f.lines for f in streams.values()),
        keys=sum(len(f.current) for f in streams.values()),
        quarantined=quarantined,
        cells=len(sums),
        sums=sums,
        raw=raw_differences,
        ledger=compare.ledger_problems(cursor, raw, source.id, in_store),
        differences=[
            Difference(source.name, cell, sums.get(cell, Decimal(0)), facts.get(cell, Decimal(0)), None)
            for cell in sorted(_comparable(sums, facts))
            if sums.get(cell, Decimal(0)) != facts.get(cell, Decimal(0))
        ],
        identity=compare.identity_breaks(sums, history_begins(source)) if _tells_payments(source, told) else [],
    )


def _tells_payments(source: SourceLike, streams: Sequence[str]) -> bool:
    """Files of sales alone say nothing of how they were paid."""
    return source.integration != DATA or "payment" in streams


def history_begins(source: SourceLike) -> date | None:
    """The day (UTC) from which on the source was asked, where its settings name one."""
    since = source.config.get("since")
    return instant(str(since)).astimezone(UTC).date() if since else None


def _comparable(sums: Sums, facts: Sums) -> Iterable[Cell]:
    measures = compare.FACT_MEASURES
    return {cell for cell in sums.keys() | facts.keys() if cell.measure in measures}


def _business_wide(
    cursor: Any, shard: ShardLike, business: str, sources: Sequence[SourceLike], results: Sequence[SourceResult]
) -> list[Difference]:
    if not sources or any(result.damage for result in results):
        return []
    total: Sums = defaultdict(Decimal)
    for result in results:
        for cell, amount in result.sums.items():
            total[cell] += amount
    summaries = compare.summaries(cursor, shard.schema("marts"), shard.schema("keys"), sources[0].business)
    cells = {c for c in total.keys() | summaries.keys() if c.measure in compare.SUMMARY_MEASURES}
    return [
        Difference(business, cell, total.get(cell, Decimal(0)), None, summaries.get(cell, Decimal(0)))
        for cell in sorted(cells)
        if total.get(cell, Decimal(0)) != summaries.get(cell, Decimal(0))
    ]
