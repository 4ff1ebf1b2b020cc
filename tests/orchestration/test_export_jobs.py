"""Files of marts by Dagster: a run where something is new, one that fails beside others that do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
from dagster._core.events import DagsterEvent

from orchestration import export_jobs
from orchestration.alive import alive
from orchestration.cycle import Installation
from orchestration.export_jobs import FILES, JOB, export_asset, export_job, export_schedule
from orchestration.installation import Larder
from orchestration.jobs import BEGINNING
from orchestration.specs import Graph
from orchestration.translator import shards
from sharding.model import TRANSFORMER
from sharding.settings import Settings
from tests.orchestration import test_mart_files
from tests.orchestration.test_mart_files import CAFE, World

world = test_mart_files.world
CHANGES = "create table {meta}.model_change (model text, xid xid8 default pg_current_xact_id())"


@dataclass
class Office:
    """Dagster with the export, over the world's installation."""

    world: World
    at: Installation
    instance: dg.DagsterInstance
    defs: dg.Definitions

    def tick(self) -> list[str] | str:
        """The shards whose run a tick asks for, or why it asks for none."""
        schedule: Any = export_schedule("25 * * * *")
        with dg.build_schedule_context(
            instance=self.instance,
            resources={"larder": Larder(self.at)},
            scheduled_execution_time=datetime(2026, 1, 2, 3, 25, tzinfo=UTC),
        ) as context:
            found = schedule(context)
        return str(found.skip_message) if isinstance(found, dg.SkipReason) else [one.partition_key for one in found]

    def run(self) -> dg.ExecuteInProcessResult:
        job = self.defs.resolve_job_def(JOB)
        tags = {"larder/shard": "shard_1"}
        return job.execute_in_process(partition_key="shard_1", instance=self.instance, raise_on_error=False, tags=tags)

    def notices(self) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.at.catalogue.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(
                "select n.step, n.class, a.who, n.command, a.ended from control.notices as n"
                " inner join control.notice_affected as a using (notice)"
            )
            return cur.fetchall()


@pytest.fixture
def office(world: World, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    world.sql("create schema if not exists {meta}")
    world.sql(CHANGES)
    world.sql(f"grant select on {{meta}}.model_change to {TRANSFORMER}")
    at = Installation.of(settings, world.catalogue)
    monkeypatch.setattr(export_jobs, "get_settings", lambda: settings)
    settings.export_store = str(world.folder)
    graph = Graph([], [], [], {}, {dg.AssetKey(["bi", "sum_sales_day"]): "model.larder.bi_sum_sales_day"}, {})
    defs = dg.Definitions(assets=[export_asset(graph)], jobs=[export_job()], resources={"larder": Larder(at)})
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions(str(shards.name), ["shard_1"])
        yield Office(world, at, instance, defs)


def told(ran: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [made] = ran.asset_materializations_for_node("files__marts")
    return {name: value.value for name, value in made.metadata.items() if isinstance(value.value, int)}


def changed(world: World, day: str) -> None:
    """A build changes a row of the cafe's."""
    world.sql(
        "update {marts}.sum_sales_day set orders = orders + 1 where business_date = %s"
        " and {keys}.business_of(location_id) = %s", day, CAFE,
    )  # fmt: skip
    world.sql("insert into {meta}.model_change (model) values ('sum_sales_day')")


def test_a_run_where_something_is_new_and_none_where_nothing_is(office: Office, settings: Settings) -> None:
    world = office.world
    settings.export_store = ""
    assert office.tick() == "LARDER_EXPORT_STORE is not set"
    settings.export_store = str(world.folder)
    assert office.tick() == ["shard_1"], "nothing was exported yet"
    first = told(office.run())
    assert (first["businesses"], first["files written"], first["without news"]) == (2, 6, 0)
    before = {**world.files("cafe"), **world.files("bar")}

    assert office.tick() == "no mart changed since its files were written"
    again = told(office.run())
    assert (again["businesses"], again["files written"], again["without news"]) == (0, 0, 2)
    assert {**world.files("cafe"), **world.files("bar")} == before

    changed(world, "2025-01-03")
    assert office.tick() == ["shard_1"]
    later = told(office.run())
    assert (later["businesses"], later["files written"], later["without news"]) == (2, 1, 0)
    after = {**world.files("cafe"), **world.files("bar")}
    assert len(set(after) - set(before)) == 1 and len(after) == len(before)
    assert office.tick() == "no mart changed since its files were written"

    with world.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.exports set exported_at = now() - interval '25 hours'")
    assert office.tick() == ["shard_1"], "once a day in any case: a table that is made whole notes no change"


def test_an_export_that_fails_is_told_and_keeps_no_other_back(office: Office) -> None:
    world = office.world
    with world.catalogue.connect() as conn, conn.cursor() as cur:
        number = world.catalogue.business("bar").id
        cur.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"larder export {number}",))
        failed = office.run()
        assert not failed.success
    assert (
        sorted({file.split("/")[0] for file in world.files("cafe")}) == ["cafe"]
        and not world.folder.joinpath("bar").exists()
    )
    assert office.notices() == [("export", "settings", "bar", "larder export --business bar", None)]
    assert office.tick() == ["shard_1"]
    assert told(office.run())["businesses"] == 1, "the cafe's are there"
    assert office.notices()[0][-1] == "healed"


def test_a_shard_that_does_not_answer_delays_no_other(office: Office) -> None:
    with office.world.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.shards (shard, instance, database)"
            " select 'shard_0', instance, 'gone' from control.shards where shard = 'shard_1'"
        )
        cur.execute("update control.businesses set shard = 'shard_0' where name = 'bar'")
        cur.execute(
            "insert into control.exports (business, store, shard, system_identifier, snapshot)"
            " select business, %s, shard, 1, '1:1:' from control.businesses", (str(office.world.folder),),
        )  # fmt: skip
    assert office.tick() == ["shard_1"]
    assert office.run().success
    assert office.tick() == "no mart changed since its files were written"
    with office.world.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.businesses set shard = 'shard_1' where name = 'bar'")


def test_a_run_that_is_at_it_is_not_begun_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    job = office.defs.resolve_job_def(JOB)
    run = office.instance.create_run_for_job(job, tags={"larder/shard": "shard_1"}, asset_selection=frozenset({FILES}))
    office.instance.report_dagster_event(DagsterEvent(dg.DagsterEventType.RUN_START.value, JOB), run.run_id)
    later = time.time() + 2 * BEGINNING
    monkeypatch.setattr("orchestration.jobs.time.time", lambda: later)
    with alive(office.at.catalogue.dsn, run.run_id):
        assert office.tick() == "the files of shard_1 are still being written"
    assert office.tick() == ["shard_1"], "its process is gone"
    found = office.instance.get_run_by_id(run.run_id)
    assert found is not None and found.status == dg.DagsterRunStatus.FAILURE
