"""The cycle as one step a shard: in this process, and on Celery workers of which one is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from pydantic import SecretStr

from orchestration.by_shard import JOB, by_shard, celery_config, cycle_by_shard
from orchestration.installation import Larder
from orchestration.keys import raw_key
from orchestration.specs import Graph
from sharding.settings import Settings
from tests.faults.record import Figure
from tests.orchestration.shop import Shop
from tests.waiting import until

SALES = dg.AssetKey(["marts", "sum_sales_day"])
ROOT = Path(__file__).parents[2]
DEFINITIONS = """
from dataclasses import replace
from pathlib import Path

import dagster as dg

from ingestion.registry import discover
from orchestration.by_shard import by_shard
from orchestration.cycle import Installation
from orchestration.installation import Larder
from orchestration.manifest import load_manifest
from orchestration.python_model import python_models
from orchestration.specs import build_graph
from sharding.settings import get_settings
from sharding.up import open_catalogue

settings, project = get_settings(), Path(__file__).parent
at = Installation.of(settings, open_catalogue(settings), project)
at = replace(at, transform=replace(at.transform, work_dir=project.parent / "dbt"))
graph = build_graph({"acme": discover()["acme"]}, load_manifest(project, project.parent / "dbt"), python_models())
defs = dg.Definitions(
    jobs=[by_shard(graph, settings).job], resources={"larder": Larder(at, within=settings.shard_deadline)}
)
"""  # orchestration.definitions for the made-up vendor's project


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage as an installation has it: SQLite."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(str(tmp_path / "dagster")).get_ref()) as made:
        yield made


def shards_of(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[str]:
    """The shards of an asset's materializations."""
    records = instance.fetch_materializations(key, limit=50).records
    return sorted(r.asset_materialization.partition or "" for r in records if r.asset_materialization)


def test_a_step_for_each_shard_that_is_due(shop: Shop, graph: Graph, instance: dg.DagsterInstance) -> None:
    job = cycle_by_shard(graph, dg.in_process_executor)
    shop.sell("cafe", "a", "3.10", day="someday")
    shop.sell("diner", "b", "7.25")

    def run() -> dg.ExecuteInProcessResult:
        resources = {"larder": Larder(shop.installation)}
        return job.execute_in_process(instance=instance, resources=resources, raise_on_error=False)

    first = run()
    assert [e.step_key for e in first.all_events if e.is_step_failure] == ["shard[shard_1]"]
    assert [e.step_key for e in first.all_events if e.is_step_success] == ["due_shards", "shard[shard_2]"]
    assert shards_of(instance, SALES) == ["shard_2"]
    assert shards_of(instance, raw_key("acme", "sales")) == ["shard_1", "shard_2"]
    assert shop.rows(1, "select net_sales from {marts}.sum_sales_day where net_sales > 0")[0][0] == 7.25
    again = run()  # shard_1 is tried again, shard_2 has nothing new
    assert {e.step_key for e in again.all_events if e.is_step_start} == {"due_shards", "shard[shard_1]"}


def test_without_a_broker_nothing_of_it_is_loaded(graph: Graph, settings: Settings) -> None:
    assert by_shard(graph, settings) is None
    assert "dagster_celery" not in sys.modules


def test_a_step_is_handed_on_only_when_its_shard_must_have_ended() -> None:
    settings = Settings(celery_broker=SecretStr("amqp://broker"), shard_deadline=300)
    config = celery_config(settings)
    assert config["backend"] == "rpc://"
    assert config["config_source"]["task_acks_late"]
    assert config["config_source"]["broker_transport_options"]["visibility_timeout"] > 300


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Redis on a port of its own; its URL."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    options = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(["redis-server", *options], stdout=log)
    try:
        until(lambda: b"Ready to accept" in (folder / "redis.log").read_bytes())
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def started(*command: str, env: dict[str, str], cwd: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this Python's, ended at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *command], env=env, cwd=cwd, stdout=out, stderr=out)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.fault(2)
@pytest.mark.skipif(
    not (find_spec("dagster_celery") and find_spec("redis") and shutil.which("redis-server")),
    reason="needs redis-server and the dependency group celery (uv sync --group celery)",
)
def test_a_killed_worker_s_shard_goes_to_the_other(
    shop: Shop, instance: dg.DagsterInstance, tmp_path: Path, figure: Figure
) -> None:
    shop.now = datetime.now(UTC)  # processes of their own have no clock but the real one
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    project = shop.installation.transform.project_dir
    with ExitStack() as stack:
        url = stack.enter_context(broker(tmp_path))
        env = {
            **os.environ,
            "LARDER_CELERY_BROKER": url,
            "LARDER_SHARD_DEADLINE": "40",
            "LARDER_CLOCK": "real",
            "LARDER_WORKERS": "1",
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(project), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        (project / "shop_definitions.py").write_text(DEFINITIONS)
        workers = {}
        for name in ("one", "two"):
            celery = (
                "-m",
                "celery",
                "-A",
                "orchestration.celery_worker",
                "worker",
                "--pool",
                "solo",
                "-l",
                "info",
                "-n",
                name,
            )
            log = tmp_path / f"{name}.log"
            workers[name] = begun = stack.enter_context(started(*celery, env=env, cwd=project, log=log))
            until(lambda log=log, begun=begun: b" ready." in log.read_bytes() or begun.poll() is not None, 300)  # type: ignore[misc]
            assert begun.poll() is None, log.read_text()[-3000:]
        held = stack.enter_context(closing(psycopg2.connect(shop.shards[1].dsn)))
        with held.cursor() as cursor:  # shard_2's load waits here
            cursor.execute(shop.shards[1].render("lock table {raw}.head in access exclusive mode"))
        execute = ("-m", "dagster", "job", "execute", "-m", "shop_definitions", "-j", JOB)
        run = stack.enter_context(started(*execute, env=env, cwd=project, log=tmp_path / "run.log"))

        def events() -> list[dg.DagsterEvent]:
            runs = instance.get_runs()
            logs = instance.all_logs(runs[0].run_id) if runs else []
            return [entry.dagster_event for entry in logs if entry.dagster_event]

        def hands() -> list[str]:
            """The workers that began with shard_2, one after the other."""
            at_work = [
                e for e in events() if e.step_key == "shard[shard_2]" and "in celery worker" in (e.message or "")
            ]
            return [str(e.engine_event_data.metadata["Celery worker"].value).split("@")[-1] for e in at_work]

        def waiting() -> bool:
            with closing(psycopg2.connect(shop.shards[1].dsn)) as conn, conn.cursor() as cursor:
                cursor.execute("select count(*) from pg_locks where not granted")
                return bool((cursor.fetchone() or (0,))[0])

        until(lambda: waiting() or run.poll() is not None, 300, every=0.2)
        assert waiting(), (tmp_path / "run.log").read_text()[-3000:]
        (killed,) = hands()
        workers[killed].send_signal(signal.SIGKILL)
        workers[killed].wait()
        until(lambda: not waiting())  # its own workers end with it
        held.rollback()
        until(lambda: run.poll() is not None, 400, every=0.2)
        assert run.returncode == 0, (tmp_path / "run.log").read_text()[-3000:]
        (other,) = set(workers) - {killed}
        assert hands() == [killed, other]
        assert [e.step_key for e in events() if e.is_step_failure] == []
        for number, total in enumerate(("3.10", "7.25")):
            assert [str(t) for (t,) in shop.rows(number, "select net_sales from {marts}.sum_sales_day")] == [
                f"{total}00"
            ]
            assert shop.rows(number, "select count(*) from raw_acme.sales") == [(1,)]
        figure("workers ended", 1)
