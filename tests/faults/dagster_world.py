"""The shop as Dagster has it: definitions that a daemon of its own process loads."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from ingestion.sandbox.clock import SandboxClock
from orchestration.instance import CONFIG
from orchestration.translator import shards
from sharding.settings import get_settings
from tests.faults.world import World

ROOT = Path(__file__).parents[2]
DEFINITIONS = """
from dataclasses import replace
from pathlib import Path

import dagster as dg

from ingestion.registry import discover
from orchestration.assets import cycle_assets
from orchestration.cycle import Installation
from orchestration.installation import Larder
from orchestration.jobs import every_ten_minutes, make_jobs
from orchestration.manifest import load_manifest
from orchestration.python_model import python_models
from orchestration.specs import build_graph
from sharding.settings import get_settings
from sharding.up import open_catalogue

settings, project = get_settings(), Path(__file__).parent
at = Installation.of(settings, open_catalogue(settings), project)
at = replace(at, transform=replace(at.transform, work_dir=project.parent / "dbt", workers=1))
graph = build_graph({"acme": discover()["acme"]}, load_manifest(project, project.parent / "dbt"), python_models())


@dg.schedule(
    name="every_minute", cron_schedule="* * * * *", job_name="cycle", required_resource_keys={"larder"},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def every_minute(context: dg.ScheduleEvaluationContext):
    return every_ten_minutes(context)


defs = dg.Definitions(
    assets=[*graph.external, cycle_assets(graph)],
    jobs=make_jobs(graph, []),
    schedules=[every_minute],
    resources={"larder": Larder(at, within=settings.shard_deadline)},
)
"""  # orchestration.definitions for the shop's project, with a tick each minute


def new_home(world: World, home: Path) -> Path:
    """An empty DAGSTER_HOME as an installation has it; the definitions are `shop_definitions`."""
    home.mkdir()
    (home / "dagster.yaml").write_text(CONFIG)
    (world.project.project_dir / "shop_definitions.py").write_text(DEFINITIONS)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions(str(shards.name), [shard.name for shard in world.shop.shards])
    return home


def tell_time(world: World) -> None:
    """The shop's time, for processes with these definitions: they read a sandbox's clock."""
    SandboxClock(get_settings().home).set(world.shop.now)


def environment(world: World, home: Path) -> dict[str, str]:
    """For a process with these definitions."""
    tell_time(world)
    path = [str(ROOT), str(world.project.project_dir), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "DAGSTER_HOME": str(home), "LARDER_CLOCK": "auto", "LARDER_WORKERS": "1",
            "PYTHONPATH": os.pathsep.join(path)}  # fmt: skip
