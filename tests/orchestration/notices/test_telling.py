"""Whole cycles whose vendors, blocks, models and shards fail: what is mailed, without people and secrets in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from werkzeug import Response

from ingestion import index
from ingestion.registry import discover
from orchestration.assets import cycle_assets
from orchestration.cycle import Scope, Watch, run_cycle
from orchestration.installation import Larder
from orchestration.jobs import make_jobs
from orchestration.manifest import load_manifest
from orchestration.notices import outbox, state, telling
from orchestration.notices.channels import Channels
from orchestration.notices.sensor import tell_failures
from orchestration.passes import Passes
from orchestration.python_model import python_models
from orchestration.specs import build_graph
from orchestration.translator import shards
from orchestration.workers import Workers
from tests.orchestration.notices.told import GUEST, SECRET, Told, moment, secret_of

REFUSAL = """
create function {raw}.odd() returns trigger language plpgsql as $$
begin
    if new.payload ->> 'total' = '66.60' then
        raise exception 'row of % (%) refused', new.payload ->> 'name', new.payload ->> 'phone'
        using detail = 'Failing row contains ' || new.payload::text;
    end if;
    return new;
end $$;
create trigger odd before insert on {raw}_acme.sales for each row execute function {raw}.odd()
"""


def quoting(status: int) -> Response:
    """An answer that tells everything."""
    return Response(json.dumps({"error": f"no order for guest {GUEST} with token {SECRET}"}), status)


def test_each_kind_of_failure_is_told_once_without_people_and_secrets_and_once_when_healed(told: Told) -> None:
    shop = told.shop

    # The vendor refuses one credential, and is well with the other.
    told.answers = {"cafe": quoting(401)}
    for _ in range(2):
        told.cycle()
    [mail] = told.news()
    assert mail.startswith("Larder: Acme refuses credentials of cafe/till\n")
    assert "Acme refuses the credentials of cafe/till (HTTP 401)\n" in mail
    assert "larder source check" in mail and "cafe/till (Cafe, shard_1)" in mail

    # Now it is down for both: that is one cause, and not the one before.
    told.answers = {"cafe": quoting(500), "diner": quoting(503)}
    told.cycle()
    down, over = told.news()
    assert down.startswith("Larder: Acme is down, for 2 sources\n")
    assert "fails otherwise now  cafe/till" in over

    # It answers in another shape.
    told.answers = {"cafe": Response(f"<p>Dear {GUEST['name']}, {SECRET}", 200), "diner": quoting(503)}
    told.cycle()
    [shape] = told.news()
    assert shape.startswith("Larder: extract of Acme fails for cafe/till (changed shape)\n")
    told.answers = {}
    told.cycle()
    assert sorted(text.splitlines()[0] for text in told.news()) == [
        "Larder: healed: Acme is down, for 2 sources",
        "Larder: healed: extract of Acme fails for cafe/till (changed shape)",
    ]

    # The database refuses a block, and quotes the row.
    shop.rows(0, REFUSAL)
    shop.sales["cafe"].append({"id": "odd", "total": "66.60", "day": "2025-03-10", "changed": moment(shop), **GUEST})
    for _ in range(2):
        report = told.cycle()
    said = " ".join(failure.cause for _, failure in report.failures)
    assert "Maria Garcia" in said and "4567" in said, "the error itself tells all"
    [load] = told.news()
    assert load.startswith("Larder: load of Acme fails for cafe/till (our bug)\n")
    assert "cannot be published: row of …" in load and "larder reproduce " in load and "--load-only" in load
    shop.rows(0, "drop trigger odd on {raw}_acme.sales")
    told.cycle()
    [healed] = told.news()
    assert healed.startswith("Larder: healed: load of Acme fails for cafe/till (our bug)\n")

    # A model fails of a record that came, and a data test of another.
    shop.sales["cafe"].append({"id": "x", "total": "1", "day": f"someday {GUEST}", "changed": moment(shop), **GUEST})
    shop.sales["diner"].append({"id": "y", "total": None, "day": "2025-03-10", "changed": moment(shop), **GUEST})
    for _ in range(2):
        report = told.cycle()
    assert any("someday" in failure.cause and "Maria" in failure.cause for _, failure in report.failures)
    model, test = sorted(told.news(), key=lambda text: "data test" in text)
    assert model.startswith("Larder: model fct_sale fails on shard_1\n")
    assert (
        "invalid input syntax for type date" in model and "--model fct_sale" in model and "class      our bug" in model
    )
    assert test.startswith("Larder: data test not_null_fct_sale_total fails on shard_2\n")
    assert "class      data" in test
    shop.sales["cafe"][-1] |= {"day": "2025-03-10", "changed": moment(shop)}
    shop.sales["diner"][-1] |= {"total": "2", "changed": moment(shop)}
    told.cycle()
    assert sorted(text.splitlines()[0] for text in told.news()) == [
        "Larder: healed: data test not_null_fct_sale_total fails on shard_2",
        "Larder: healed: model fct_sale fails on shard_1",
    ]

    # A shard's database is gone.
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = 'gone' where shard = 'shard_1'")
    shop.sell("cafe", "z", "1")
    for _ in range(2):
        told.cycle()
    [dead] = told.news()
    assert dead.startswith("Larder: database does not answer: shard_1\n")
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute("update control.shards set database = %s where shard = 'shard_1'", (shop.shards[0].database,))
    told.cycle()
    [back] = told.news()
    assert back.startswith("Larder: healed: database does not answer: shard_1\n")
    assert told.waiting() == []


def test_a_mail_server_that_never_answers_neither_stops_nor_fails_a_cycle(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop = told.shop
    monkeypatch.setattr(telling, "PATIENCE", 0.3)
    there = shop.installation.channels
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = int(silent.getsockname()[1])
        shop.installation = replace(shop.installation, channels=replace(there, port=port, webhook=""))
        secret_of(shop, "cafe/till").unlink()
        report = told.cycle(steps=("extract",))
        assert [failure.turn for _, failure in report.failures] == ["credentials"]
        assert "letters wait for the next cycle" in caplog.text
    shop.installation = replace(shop.installation, channels=replace(there, webhook=""))
    monkeypatch.setattr(telling, "PATIENCE", 25.0)
    for sender in [thread for thread in threading.enumerate() if thread.name == "notices"]:
        sender.join(30)  # the letter is its own until it gives up
    with closing(index.connect(shop.installation.catalogue.dsn)) as conn:
        outbox.send(conn, shop.installation.channels, now=True)
    assert told.office.subjects() == ["Larder: Acme refuses credentials of cafe/till"]


@pytest.mark.faults
@pytest.mark.fault(2)
def test_a_worker_that_is_killed_is_told_with_its_shard_and_the_block_that_it_was_at(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` in the midst of a build, as a machine does that is out of memory."""
    workers: list[int] = []

    def take(self: Workers) -> Any:
        worker = began(self)
        workers.append(worker.process.pid)
        return worker

    def kill(shard: str, node: str, status: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(workers[-1], signal.SIGKILL)

    began = Workers._take
    monkeypatch.setattr(Workers, "_take", take)
    told.shop.sell("cafe", "a", "1")
    told.shop.now += timedelta(hours=13)
    report = run_cycle(told.shop.installation, Scope(shards=frozenset({"shard_1"})), Watch(building=kill))
    assert [build.state for build in report.builds] == ["failed"]
    [mail] = told.news()
    assert mail.startswith("Larder: shard_1 fails (capacity)\n")
    assert "for whom   shard_1 (Cafe)" in mail
    assert "the worker died (exit code -9; killed from outside, as a machine does that is out of memory)" in mail
    [of_cafe] = report.loaded
    assert f"reproduce  larder reproduce {of_cafe.blocks[0]}\n" in mail
    monkeypatch.setattr(Workers, "_take", began)
    told.cycle()
    assert "Larder: healed: shard_1 fails (capacity)" in [text.splitlines()[0] for text in told.news()]


def test_what_ends_a_cycle_is_told_and_raised(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Passes) -> Iterator[Any]:
        raise ValueError(f"cannot go on: {GUEST}")
        yield

    monkeypatch.setattr(Passes, "events", broken)
    for _ in range(2):
        with pytest.raises(ValueError, match="Maria"):
            told.cycle()
    [mail] = told.news()
    assert mail.startswith("Larder: larder cycle failed\n")
    assert "ValueError: cannot go on: …" in mail and "our bug" in mail
    monkeypatch.undo()


def test_a_fault_in_telling_is_no_fault_of_the_cycle(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(state, "meet", broken)
    assert not told.cycle(steps=("extract",)).failures
    assert "failures were not told" in caplog.text


def test_dagsters_runs_are_linked_and_one_that_died_is_told_by_the_sensor(told: Told, tmp_path: Path) -> None:
    shop = told.shop
    transform = shop.installation.transform
    graph = build_graph(
        {"acme": discover()["acme"]}, load_manifest(transform.project_dir, transform.work_dir), python_models()
    )
    larder = Larder(shop.installation)
    defs = dg.Definitions(
        assets=[*graph.external, cycle_assets(graph)], jobs=make_jobs(graph, []), resources={"larder": larder}
    )
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        instance.add_dynamic_partitions(str(shards.name), ["shard_1", "shard_2"])
        cursor = datetime.now().astimezone().isoformat()

        def look() -> None:
            nonlocal cursor
            with dg.build_sensor_context(instance=instance, cursor=cursor, resources={"larder": larder}) as context:
                tell_failures(context)
                cursor = context.cursor or cursor

        def run() -> Any:
            shop.now += timedelta(hours=13)
            job = defs.resolve_job_def("cycle")
            return job.execute_in_process(instance=instance, raise_on_error=False)

        shop.sell("cafe", "a", "1", day="someday")
        failed = run()
        assert not failed.success
        look()
        news = told.news()
        assert [text.splitlines()[0] for text in news] == ["Larder: model fct_sale fails on shard_1"]
        [mail] = news
        assert mail.startswith("Larder: model fct_sale fails on shard_1\n"), "and the run itself is not told again"
        assert f"https://dagster.example.org/runs/{failed.run_id}" in mail

        due = {"larder/shard_2": "due of diner/till: sales", "larder/shard_1": "due of cafe/till: sales"}
        died = instance.create_run_for_job(defs.resolve_job_def("cycle"), tags=due)
        instance.report_run_failed(died, "its process is gone; the next cycle goes on where it was")
        look()
        look()
        [mail] = told.news()
        assert mail.startswith("Larder: Dagster's run of cycle failed\n")
        assert "its process is gone; the next cycle goes on where it was; it was begun for shard_1, shard_2" in mail
        assert "capacity" in mail and died.run_id in mail and "larder cycle\n" in mail

        shop.sell("cafe", "a", "1")
        assert run().success
        look()
        assert sorted(text.splitlines()[0] for text in told.news()) == [
            "Larder: healed: Dagster's run of cycle failed",
            "Larder: healed: model fct_sale fails on shard_1",
        ]


def test_the_sensor_sends_what_waits_and_says_where_nothing_runs(
    told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop = told.shop
    there = shop.installation.channels
    shop.installation = replace(shop.installation, channels=Channels())
    secret_of(shop, "cafe/till").unlink()
    told.cycle(steps=("extract",))
    shop.installation = replace(shop.installation, channels=there)
    (tmp_path / "dagster").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance,
        dg.build_sensor_context(instance=instance, resources={"larder": Larder(shop.installation)}) as context,
    ):
        tell_failures(context)
        assert len(told.news()) == 1
