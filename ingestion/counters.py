"""Totals that only grow, kept in the control database: what metrics count stays counted when a process ends.

What an extract did is added in the transaction that logs it, so neither a kill nor a rollback makes the two differ;
loads and passes are added right after them.
"""

from collections.abc import Iterable, Sequence

import psycopg2.extras
from psycopg2.extensions import cursor as Cursor

Count = tuple[str, str, str, float]  # metric, integration or shard, outcome or cause, how many


def add(cur: Cursor, counts: Iterable[Count]) -> None:
    """Add to totals; those of nothing are left out."""
    totals: dict[tuple[str, str, str], float] = {}
    for metric, label, what, value in counts:
        if value:
            totals[metric, label, what] = totals.get((metric, label, what), 0) + value
    if not totals:
        return
    psycopg2.extras.execute_values(
        cur,
        "insert into control.counters as c (metric, label, what, value) values %s"
        " on conflict (metric, label, what, slot) do update set value = c.value + excluded.value",
        [(*key, value) for key, value in sorted(totals.items())],  # in one order: no deadlock
        page_size=1000,
    )


def totals(cur: Cursor, metrics: Sequence[str] = ()) -> list[Count]:
    """All totals, or those of some metrics."""
    cur.execute(
        "select metric, label, what, sum(value) from control.counters"
        " where %(all)s or metric = any(%(metrics)s) group by 1, 2, 3 order by 1, 2, 3",
        {"all": not metrics, "metrics": list(metrics)},
    )
    return [(metric, label, what, float(value)) for metric, label, what, value in cur.fetchall()]
