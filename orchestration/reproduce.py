"""Reproduce what happens to a block: a throwaway shard, the block with what it depends on, the models below it.

The same code runs as in a cycle: blocks are loaded, dbt's models built and tested; only the place is another one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import psycopg2
from psycopg2.extras import Json

from ingestion import index
from ingestion.blocks import BlockStore, Manifest
from ingestion.registry import discover
from ingestion.reindex import rebuild_index
from orchestration.dbt_worker import DbtProject
from orchestration.mark import tick
from orchestration.reproduce_case import BLOCKS, Case, store_of
from orchestration.reproduce_keys import write_keys
from orchestration.reproduce_shard import SHARD, Throwaway, open_throwaway
from orchestration.results import GOOD, NodeResult, Target
from orchestration.retarget import retarget
from orchestration.transform import connect, target_of
from sharding.errors import LarderError
from sharding.model import Shard
from sharding.settings import Settings

if TYPE_CHECKING:
    from ingestion.outcome import LoadResult

Step = Literal["load", "quarantine", "model", "test"]


@dataclass(frozen=True)
class Finding:
    """Something that went wrong: at which step, to what (a block, a record's place in it, a model, a test), and how."""

    step: Step
    what: str
    message: str


@dataclass
class Reproduction:
    """What happened to the block on its throwaway shard; `seconds` by step."""

    case: Case
    manifest: Manifest
    place: Throwaway
    findings: list[Finding] = field(default_factory=list)
    nodes: tuple[NodeResult, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(self.seconds.values())

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what is done inside as that step's time."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - began


class Builder(DbtProject):
    """A parsed dbt project that builds what is wanted of one block."""

    def build_some(self, target: Target, select: Sequence[str], exclude: Sequence[str] = ()) -> list[NodeResult]:
        """Run models, then the data tests of what was chosen. LarderError where dbt cannot even begin."""
        if self._manifest is None:
            self.parse()
        retarget(self._manifest, self._names, target.database, target.schema)
        nodes, error = self._dbt(target, ["run", *_chosen(select, exclude)], None)
        if error is None:
            undone = [f"{node.name}+" for node in nodes if node.status not in GOOD]  # of no table there is a test
            words = _chosen(select, (*exclude, *undone))
            only = ["--exclude-resource-type", "unit_test", "--indirect-selection", "cautious"]  # all it reads is built
            tests, error = self._dbt(target, ["test", *only, *words], None)
            nodes += tests
        if error is not None:
            raise LarderError(f"dbt does not run: {error}", "us", "dbt parse")
        return nodes

    def selection(self, manifest: Manifest, models: Sequence[str]) -> tuple[list[str], list[str]]:
        """dbt's words for the models wanted with all that they read, or for all below the block's stream.

        Raises:
            LarderError: turn `you`: no such model or test.
        """
        if self._manifest is None:
            self.parse()
        names = {node.name for node in self._manifest.nodes.values()}
        if unknown := [model for model in models if model not in names]:
            raise LarderError(f"there is no model or test {unknown[0]!r}", "you", "dbt ls --resource-type model test")
        python = ["source:python+"] if any(s.source_name == "python" for s in self._manifest.sources.values()) else []
        if models:
            return [f"+{model}" for model in models], []
        source, table = f"raw_{manifest.integration}", f"{manifest.stream}_current"
        for node in self._manifest.sources.values():
            if (node.source_name, node.name) == (source, table):
                return [f"@source:{source}.{table}"], python
        return ["*"], python


def reproduce(
    settings: Settings,
    folder: Path,
    builder: Callable[[], Builder] | None,
    models: Sequence[str] = (),
    began: dict[str, float] | None = None,
) -> Reproduction:
    """Load and build a case on a throwaway shard, which the caller discards.

    Args:
        builder: makes the dbt project; None: no models are built.
        models: names of models or tests; default: all below the block's stream.
        began: seconds of steps before.

    Raises:
        LarderError: what keeps the case from being reproduced. What the case itself does wrong is a finding.
    """
    case = Case.read(folder)
    opened = time.monotonic()
    place = open_throwaway(settings)
    found = Reproduction(case, _manifest(folder, case), place, seconds=dict(began or {}))
    found.seconds["shard"] = time.monotonic() - opened
    try:
        with found.timed("block"):
            _settle(place, case, folder)
            loaded = _load(found)
        if builder is not None and loaded:
            with found.timed("dbt"):
                project = builder()
                select, exclude = project.selection(found.manifest, models)
            with found.timed("models"):
                target = target_of(place.shard)
                with closing(connect(target)) as conn:
                    tick(conn, target.schema, _clock(case, found.manifest), each_hour=False)
                found.nodes = tuple(project.build_some(target, select, exclude))
            found.findings += findings_of(found.nodes)
    except BaseException:
        from orchestration.reproduce_shard import discard

        discard(place)
        raise
    return found


def _chosen(select: Sequence[str], exclude: Sequence[str]) -> list[str]:
    return ["--select", *select, *(["--exclude", *exclude] if exclude else [])]


def findings_of(nodes: Sequence[NodeResult]) -> list[Finding]:
    """The models and tests that failed; what was skipped because of them is not among them."""
    return [
        Finding("test" if node.kind == "test" else "model", node.name, " ".join((node.message or "").split()))
        for node in nodes
        if node.status not in GOOD and node.status != "skipped"
    ]


def load_case(shard: Shard, store: BlockStore, block_id: UUID) -> tuple[LoadResult, list[Finding]]:
    """Load what the block depends on, then the block; what became of it, and what went wrong."""
    from ingestion.load import load_blocks

    manifests = sorted(store.manifests(), key=lambda manifest: manifest.block_id)
    related = [manifest for manifest in manifests if manifest.block_id != block_id]
    [block] = [manifest for manifest in manifests if manifest.block_id == block_id]
    specs = discover()
    if related:
        load_blocks(shard.dsn, shard.schemas, related, store, specs)
    result = load_blocks(shard.dsn, shard.schemas, [block], store, specs)
    findings = [Finding("load", str(block_id), failure.error.cause) for failure in result.failures]
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute(
            shard.render(
                "select ordinal, reason, detail from {raw}.quarantine where block_id = %s and state = 'open'"
                " order by ordinal"
            ),
            (str(block_id),),
        )
        findings += [Finding("quarantine", str(ordinal), f"{why}: {detail}") for ordinal, why, detail in cursor]
    return result, findings


def _load(found: Reproduction) -> bool:
    """Load the case; whether the block itself is in raw."""
    place, block_id = found.place, found.manifest.block_id
    store = BlockStore(place.settings.block_store)
    result, found.findings = load_case(place.shard, store, block_id)
    rebuild_index(place.catalogue.dsn, store)
    with closing(index.connect(place.catalogue.dsn)) as control:
        index.mark_loaded(control, [m.block_id for m in store.manifests() if m.block_id != block_id])
        index.mark_loaded(control, result.loaded_block_ids)
        for failure in result.failures:
            index.mark_failed(control, failure.block_ids, failure.error)
    return bool(result.loaded_block_ids)


def _manifest(folder: Path, case: Case) -> Manifest:
    for manifest in store_of(folder).manifests():
        if str(manifest.block_id) == case.block_id:
            return manifest
    raise LarderError(f"{folder} has no block {case.block_id}", "you", "larder blocks export --help")


def _settle(place: Throwaway, case: Case, folder: Path) -> None:
    """The business, its source, and all that the case says of them."""
    shutil.copytree(folder / BLOCKS, place.home / "blocks")
    business, source = case.business, case.source
    place.catalogue.add_business(
        business["name"], business["display_name"] or business["name"], SHARD, business["first_weekday"],
        business["reporting_currency"], business["business"],
    )  # fmt: skip
    with place.catalogue.connect() as connection, connection.cursor() as cursor:
        # Paused: nothing here has a credential, and nothing is to be read from the vendor.
        cursor.execute(
            "insert into control.sources (source_id, business, integration, name, config, state)"
            " values (%s, %s, %s, %s, %s, 'paused')",
            (source["id"], business["business"], source["integration"], source["name"], Json(source["config"])),
        )
    settle_shard(place.shard, case)


def settle_shard(shard: Shard, case: Case) -> None:
    """The case's source, ids, maps and settings on a shard where the business has its route."""
    source = case.source
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            shard.render("insert into {keys}.source (id, integration, name, config) values (%s, %s, %s, %s)"),
            (source["id"], source["integration"], source["name"], Json(source["config"])),
        )
        cursor.execute(
            shard.render(
                "insert into {keys}.counter (business, next) values (%s, %s) on conflict (business)"
                " do update set next = greatest(counter.next, excluded.next)"
            ),
            (case.business["business"], int(source["id"]) % (1 << 45) + 1),
        )
        write_keys(shard, cursor, case.keys)


def _clock(case: Case, manifest: Manifest) -> datetime:
    told = datetime.fromisoformat(case.clock) if case.clock else manifest.observed_at
    return max(told, manifest.observed_at)


def warm_up() -> Any:
    """Import what loading and building need; seconds of it are spent best while Postgres starts."""
    import dlt
    from dlt.destinations import postgres

    return dlt, postgres
