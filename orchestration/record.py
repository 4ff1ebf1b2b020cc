"""A cycle as a run of Dagster's, from the command line: the same cycle, and its UI shows it."""

from __future__ import annotations

import logging

from orchestration.cycle import Installation
from orchestration.events import CycleReport, Event
from sharding.settings import Settings


def record_cycle(at: Installation, settings: Settings) -> CycleReport:
    """Run the `cycle` job in this process on the installation's Dagster instance, and report it.

    A run that fails for a shard is a report with failures, as without Dagster. Any other error is raised.
    """
    import dagster as dg

    from orchestration.definitions import defs
    from orchestration.installation import Larder
    from orchestration.instance import dagster_home

    heard: list[Event] = []
    now = at.clock()
    logging.getLogger("dagster").setLevel(logging.CRITICAL)  # the report says it; the event log keeps it
    with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        job = defs.resolve_job_def("cycle")
        outcome = job.execute_in_process(
            instance=instance, resources={"larder": Larder(at, heard.append)}, raise_on_error=False
        )
    report = CycleReport.of(now, heard)
    if not outcome.success and not report.failures:
        raise RuntimeError(f"Dagster's run {outcome.run_id} failed; larder dagster shows why")
    return report
