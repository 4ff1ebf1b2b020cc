"""What Dagster loads: vendor → blocks → raw → models, every asset partitioned by shard.

Needs no running database: where no catalogue answers, every integration is shown.
"""

import dagster as dg

from orchestration.assets import cycle_assets, reconcile_checks
from orchestration.by_shard import by_shard
from orchestration.export_jobs import export_asset, export_job, export_schedule
from orchestration.installation import Larder, configured_integrations
from orchestration.jobs import (
    daily_reconciliation,
    every_ten_minutes,
    housekeeping,
    make_jobs,
    nightly_verification,
)
from orchestration.manifest import load_manifest
from orchestration.move_job import move_business_job, moves_to_tend, stage_assets
from orchestration.notices.sensor import tell_failures
from orchestration.project import project_dir
from orchestration.python_model import python_models
from orchestration.specs import build_graph
from orchestration.upkeep_jobs import keep_shard, nightly_control, quiet_hours, upkeep_control, upkeep_job
from orchestration.watch import readers_asset, watch_checks, watch_sensor
from sharding.settings import get_settings, project_root

settings = get_settings()
graph = build_graph(
    configured_integrations(settings),
    load_manifest(project_dir(project_root(), settings.home / "dbt"), settings.home / "dbt"),
    python_models(),
)
checks = reconcile_checks(graph)
jobs = make_jobs(graph, checks)
celery = by_shard(graph, settings)

defs = dg.Definitions(
    assets=[
        *graph.external,
        readers_asset(graph),
        cycle_assets(graph),
        *stage_assets(),
        keep_shard,
        export_asset(graph),
    ],
    asset_checks=[*checks, *watch_checks(graph)],
    jobs=[*jobs, move_business_job, upkeep_job(), upkeep_control, export_job(), *([celery.job] if celery else [])],
    schedules=[
        celery.schedule if celery else every_ten_minutes,
        moves_to_tend,
        quiet_hours,
        export_schedule(settings.export_cron),
        nightly_control(),
        housekeeping(graph),
        nightly_verification(),
        *daily_reconciliation(jobs),
    ],
    sensors=[tell_failures, watch_sensor(graph)],
    resources={"larder": Larder(within=settings.shard_deadline)},
)
