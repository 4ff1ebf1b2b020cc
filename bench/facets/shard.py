"""Twenty models on one shard, a shard with nothing to do, and a day that sells ten times as much."""

from dataclasses import dataclass

from bench.facets import probe
from bench.facets.runner import Project
from bench.facets.till import Till, settle
from bench.loads import median
from bench.measure import Cost, measured, note

TWENTY = ("five", "fifteen")  # the five, and three copies of them
HOT = ("five", "hot")
CYCLES, IDLE_CYCLES, HOT_CYCLES = 7, 5, 5


@dataclass(frozen=True)
class HotDay:
    """Sales of a day, and the cost of a cycle by folder of models, before and after it had ten times as many.

    `now`: the cycles fall into an hour that has just begun; `in_hot_hour`: into one that had ten times as many, too.
    """

    sales: tuple[int, int]
    before: dict[str, Cost]
    now: dict[str, Cost]
    in_hot_hour: dict[str, Cost]


def twenty(till: Till, project: Project) -> list[Cost]:
    """Cycles of twenty models, 300 changed facets each."""
    note(f"{till.items:,} items: twenty models")
    project.run("facets", *TWENTY)
    settle(till.dsn)
    costs = []
    for _ in range(CYCLES):
        till.cycle()
        costs.append(project.run("facets", *TWENTY).cost)
    return costs


def idle(project: Project) -> list[Cost]:
    """Runs of dbt that find nothing new."""
    return [project.run("facets", *TWENTY).cost for _ in range(IDLE_CYCLES)]


def probed(till: Till, project: Project) -> list[Cost]:
    """Probes that find nothing new: all that an idle cycle does. Raises RuntimeError if they are wrong."""
    probe.mark(till.dsn)
    costs = []
    for _ in range(IDLE_CYCLES):
        with measured(project.postmaster) as cost:
            seen = probe.probe(till.dsn)
        costs.append(cost)
    if seen.reason is not None:
        raise RuntimeError(f"nothing is new, but the probe finds {seen.reason}")
    till.cycle()
    if not (seen := probe.probe(till.dsn)).stale:
        raise RuntimeError(f"models lag behind their sources, but the probe finds {seen.reason}")
    return costs


def hot_day(till: Till, project: Project) -> HotDay:
    """The day's models reading the items, and with hours of theirs that feed the day. After `twenty`."""
    note(f"{till.items:,} items: a day ten times as busy")
    _bring_up(till, project)
    before, sales = _cycles(till, project, 20), till.sales_today()
    till.ten_times_today()
    _bring_up(till, project)
    return HotDay((sales, till.sales_today()), before, _cycles(till, project, 21), _cycles(till, project, 9 + CYCLES))


def _bring_up(till: Till, project: Project) -> None:
    for folder in HOT:
        project.run("facets", folder)
    settle(till.dsn)


def _cycles(till: Till, project: Project, hour: int) -> dict[str, Cost]:
    costs: dict[str, list[Cost]] = {folder: [] for folder in HOT}
    for _ in range(HOT_CYCLES):
        till.cycle(hour)
        for folder in HOT:
            costs[folder].append(project.run("facets", folder).cost)
    return {folder: median(found) for folder, found in costs.items()}
