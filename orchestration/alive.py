"""Whether the process of a run still lives: it holds a lock on the control database, which nobody holds after it.

Dagster does not look after runs that its daemon started on the same machine: one whose process was killed shows as
running until its longest time is over, and the schedule would wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ingestion import index

_LOCK = "select {}(hashtextextended('larder run ' || %s, 0))"


@contextmanager
def alive(control_dsn: str, run_id: str) -> Iterator[None]:
    """Be the process of a run."""
    with closing(index.connect(control_dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute(_LOCK.format("pg_advisory_lock"), (run_id,))
        yield


def is_alive(control_dsn: str, run_id: str) -> bool:
    """Whether some process is a run's."""
    with closing(index.connect(control_dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(_LOCK.format("pg_try_advisory_xact_lock"), (run_id,))
        return not (cur.fetchone() or (False,))[0]
