"""Grants and row security hold at every instant of a rebuild: a reader asks all the while."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest

from orchestration.results import Job
from orchestration.transform import target_of
from tests.sharding.access.conftest import World

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

MODELS = ("dim_business", "bi_dim_business")


class Reader(threading.Thread):
    """Asks for the businesses as ours, by the view and by the mart, until it is stopped."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.seen: Counter[str] = Counter()
        self._session, self._stopped = world.connect(world.bi), threading.Event()

    def run(self) -> None:
        with closing(self._session) as session:
            session.autocommit = True
            while not self._stopped.is_set():
                with session.cursor() as cursor:
                    try:
                        cursor.execute("select count(*) from bi.dim_business")
                        [(count,)] = cursor.fetchall()
                        self.seen[f"{count} rows"] += 1
                    except psycopg2.Error as error:
                        self.seen[type(error).__name__] += 1

    def stop(self) -> Counter[str]:
        self._stopped.set()
        self.join()
        return self.seen


@pytest.mark.parametrize("anew", [False, True])
def test_a_reader_sees_its_own_at_every_instant(world: World, warehouse: DbtProject, anew: bool) -> None:
    """A full refresh of what is there; and a model that appears."""
    if anew:
        world.admin("drop table marts.dim_business cascade")
        world.admin("delete from meta.mark where model = 'dim_business'")
    else:  # without the rows that no model made
        world.admin("delete from marts.dim_business where business_id & 1 = 1 or business_id & 2 = 2")
        assert rows(world) == 1
    reader = Reader(world)
    reader.start()
    here = Path.cwd()
    for _ in range(1 if anew else 3):
        built = warehouse.build(Job(target_of(world.shard), select=MODELS, full_refresh=True, tests=False))
        os.chdir(here)
        assert built.ok, built.error or [(node.name, node.message) for node in built.failed]
    seen = reader.stop()
    allowed = {"1 rows", "UndefinedTable"} if anew else {"1 rows"}
    assert seen["1 rows"] > 0 or anew
    assert set(seen) <= allowed
    assert rows(world) == 1


def rows(world: World) -> int:
    with closing(world.connect(world.bi)) as session, session.cursor() as cursor:
        cursor.execute("select count(*) from bi.dim_business")
        [(count,)] = cursor.fetchall()
        return int(count)
