"""Larder's own models: what each costs, and writes, when one order comes from each site of a chain."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.chain import Chain, Records
from bench.loads import fresh_shard, median
from bench.measure import Cost, measured, note
from bench.orders import write_block
from ingestion import registry
from ingestion.blocks import BlockStore
from ingestion.load import load_blocks
from orchestration.dbt_worker import DbtProject
from orchestration.mark import code_fingerprint
from orchestration.results import BuildResult
from orchestration.transform import Choice, ShardBuild, close_shard, hold, job_of, open_shard, target_of
from sharding.model import Shard
from sharding.settings import Settings

SITES, ORDERS, DAYS = 20, 200, 42
_ROOT = Path(__file__).parent.parent
_TODAY = datetime(2026, 6, 30, tzinfo=UTC)  # a Tuesday
_CYCLES = 5


@dataclass(frozen=True)
class Model:
    """A model in a cycle: seconds, the median of some, and rows of the last one."""

    name: str
    seconds: float
    inserted: int
    deleted: int


@dataclass(frozen=True)
class Models:
    """The first build, of everything; the median cost of a later cycle's builds, and its models that changed."""

    lines: int
    first: Cost
    later: Cost
    changed: tuple[Model, ...]


def measure_models(home: Path, settings: Settings, postmaster: int) -> Models:
    """Six weeks of a chain, then cycles with an order from each of its sites.

    Raises RuntimeError when a load or a build failed.
    """
    chain, store = Chain(SITES), BlockStore(f"file://{home / 'blocks'}")
    with fresh_shard(settings, "chain") as (shard, source_id):

        def load(records: Records, seen: datetime) -> None:
            blocks = [write_block(store, source_id, lines, seen, stream) for stream, lines in records.items()]
            loaded = load_blocks(shard.dsn, shard.schemas, blocks, store, registry.discover())
            for failure in loaded.failures:
                raise failure.error

        note(f"{SITES} sites, {ORDERS} orders a day at each, {DAYS} days")
        now = _TODAY + timedelta(hours=23)
        load(chain.places(), now)
        for days in range(DAYS, -1, -1):
            load(chain.day(_TODAY - timedelta(days=days), ORDERS), now)
        project = DbtProject(_ROOT, home / "dbt")
        with measured(postmaster) as first:
            built = _build(project, shard, now)
        lines = sum(node.inserted or 0 for node in built.models if node.name == "fct_sale_item")
        costs, cycles = [], []
        for number in range(_CYCLES):
            now += timedelta(minutes=10)
            load(chain.one_each(_TODAY + timedelta(hours=21, minutes=number)), now)
            with measured(postmaster) as cost:
                cycles.append(_build(project, shard, now))
            costs.append(cost)
    return Models(lines, first, median(costs), tuple(_changed(cycles)))


def _build(project: DbtProject, shard: Shard, now: datetime) -> BuildResult:
    """What a cycle builds of the shard, data tests included."""
    target, choice, code = target_of(shard), Choice(), code_fingerprint(_ROOT)
    with ExitStack() as leases:
        conn = hold(target, leases)
        seen = conn if isinstance(conn, ShardBuild) else open_shard(target, conn, choice, code, now, {})
        if isinstance(conn, ShardBuild) or isinstance(seen, ShardBuild):
            raise RuntimeError(str(seen))
        result = project.build(job_of(target, choice, seen))
        done = close_shard(target, conn, seen, result, choice, code, now)
    if done.state != "built":
        raise RuntimeError(done.reason)
    return result


def _changed(cycles: Sequence[BuildResult]) -> list[Model]:
    """The models that wrote rows in the last cycle, the dearest first."""
    last = [node for node in cycles[-1].models if node.changed]
    seconds = {
        node.name: statistics.median(n.seconds for cycle in cycles for n in cycle.models if n.name == node.name)
        for node in last
    }
    found = [Model(n.name, seconds[n.name], n.inserted or 0, n.deleted or 0) for n in last]
    return sorted(found, key=lambda model: -model.seconds)


def rows(found: Models) -> list[dict[str, object]]:
    """As a table."""
    return [
        {"model": one.name, "ms": round(one.seconds * 1000), "rows": f"+{one.inserted} −{one.deleted}"}
        for one in found.changed
    ]
