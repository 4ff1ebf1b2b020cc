"""A cycle as a run of Dagster's, from the command line: the same cycle, and its UI shows it."""

from __future__ import annotations

from orchestration.cycle import Installation, Watch, due
from orchestration.events import CycleReport, Event
from orchestration.notices.telling import say
from sharding.settings import Settings


def record_cycle(at: Installation, settings: Settings, watch: Watch | None = None) -> CycleReport:
    """Run the `cycle` job in this process on the installation's Dagster instance, and report it. Where nothing is due
    there is no run, as with the schedule; what waits to be told is told.

    A run that fails for a shard is a report with failures, as without Dagster. Any other error is raised.
    """
    now = at.clock()
    if not due(at):
        say(at, ())
        return CycleReport(now)
    import dagster as dg

    from orchestration.definitions import defs
    from orchestration.installation import Larder
    from orchestration.instance import dagster_home

    heard: list[Event] = []
    with dg.DagsterInstance.from_config(str(dagster_home(settings))) as instance:
        job = defs.resolve_job_def("cycle")
        outcome = job.execute_in_process(
            instance=instance,
            resources={"larder": Larder(at, heard.append, watch)},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},  # the event log keeps it all
            raise_on_error=False,
        )
    report = CycleReport.of(now, heard)
    if not outcome.success and not report.failures:
        raise RuntimeError(f"Dagster's run {outcome.run_id} failed; larder dagster shows why")
    return report
