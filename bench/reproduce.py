"""A failing block on a throwaway shard: the first time on a machine, and again."""

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from bench.orders import INTEGRATION
from bench.way import installation
from ingestion import index
from ingestion.blocks import BlockStore
from orchestration.cycle import run_cycle
from orchestration.project import project_dir
from orchestration.reproduce import Builder, Reproduction, reproduce
from orchestration.reproduce_case import gather, store_of, write_cut
from orchestration.reproduce_shard import discard
from sharding.catalogue import Catalogue
from sharding.settings import Settings, project_root

GOAL_SECONDS = 30
MODEL = "sum_sales_day"


@dataclass(frozen=True)
class Measured:
    """One reproduction: seconds by step and in all, and what it found."""

    what: str
    records: int
    models: int
    seconds: dict[str, float]
    total: float
    finding: str


def measure_reproduce(home: Path) -> list[Measured]:
    """Reproduce a block of orders of a trading till, one record of which no model can take, on a machine that has
    neither a template of Postgres nor a parsed project; then again, and once with all models below its stream."""
    with installation(home) as (at, _):
        report = run_cycle(at)
        for who, failure in report.failures:
            raise RuntimeError(f"{who}: {failure.cause}")
        settings = Settings(home=home)
        block = _newest(at.catalogue)
        made = [
            _one("first on this machine, one model", settings, at.catalogue, block, (MODEL,), home / "first"),
            _one("again, one model", settings, at.catalogue, block, (MODEL,), home / "first"),
            _one("again, all models below its stream", settings, at.catalogue, block, (), home / "first"),
        ]
    return made


def rows(measured: list[Measured]) -> list[dict[str, object]]:
    """As a table."""
    return [
        {
            "reproduction": one.what, "records": one.records, "models": one.models,
            **{step: round(seconds, 1) for step, seconds in one.seconds.items()},
            "seconds": round(one.total, 1), "goal": f"< {GOAL_SECONDS}", "found": one.finding,
        }
        for one in measured
    ]  # fmt: skip


def _one(
    what: str, settings: Settings, catalogue: Catalogue, block: UUID, models: tuple[str, ...], work: Path
) -> Measured:
    with TemporaryDirectory(prefix="larder-case-") as name:
        folder, began = Path(name), time.monotonic()
        gather(catalogue, BlockStore(settings.block_store), block, folder)
        gathered = time.monotonic() - began
        records = _break(folder, block)
        found = reproduce(
            settings, folder, lambda: Builder(project_dir(project_root(), work), work), models, {"case": gathered}
        )
        discard(found.place)
    return Measured(what, records, _models(found), dict(found.seconds), found.total, _first(found))


def _break(folder: Path, block: UUID) -> int:
    """Make an amount of the block's first record something that is none; how many records the block has."""
    store = store_of(folder)
    manifest = next(m for m in store.manifests() if m.block_id == block)
    records = [raw.decode() for raw in store.read(manifest)]
    write_cut(store, manifest, [records[0].replace('"amount":', '"amount":"twelve","was":'), *records[1:]])
    return manifest.records


def _newest(catalogue: Catalogue) -> UUID:
    source = catalogue.sources(integration=INTEGRATION)[0]
    with closing(index.connect(catalogue.dsn)) as control:
        manifest = index.last_block(control, source.id, "orders")
    assert manifest is not None
    return manifest.block_id


def _models(found: Reproduction) -> int:
    return sum(node.kind == "model" and not node.skipped for node in found.nodes)


def _first(found: Reproduction) -> str:
    return next((f"{one.step} {one.what}" for one in found.findings), "nothing")
