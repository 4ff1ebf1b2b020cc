"""What is slow or dead delays nobody else: shards, vendors, a business on its way."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg2
import pytest
from dagster._core.events import DagsterEvent

from ingestion.limits import Until
from orchestration import passes, workers
from orchestration.alive import is_alive
from orchestration.cycle import Scope, cycle_events, due, run_cycle
from orchestration.events import Event, Extracted, Loaded, ShardDone
from orchestration.jobs import still_running
from orchestration.standing import standings
from orchestration.transform import ShardBuild
from sharding.catalogue import Catalogue
from sharding.model import Instance
from tests.faults.record import Figure
from tests.orchestration.shop import Shop
from tests.waiting import until


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.fixture
def dripping() -> Iterator[tuple[str, threading.Event]]:
    """A vendor that answers one byte at a time until the event, and then hangs up."""
    over = threading.Event()

    def drip(one: socket.socket) -> None:
        with one:
            while not over.wait(0.1):
                try:
                    one.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", over
        over.set()


def timed(events: Iterator[Event]) -> list[tuple[float, Event]]:
    began = time.monotonic()
    return [(time.monotonic() - began, event) for event in events]


def builds(seen: list[tuple[float, Event]]) -> dict[str, ShardBuild]:
    return {event.shard: event for _, event in seen if isinstance(event, ShardBuild)}


def at(seen: list[tuple[float, Event]], kind: type, shard: str) -> float:
    return next(moment for moment, event in seen if isinstance(event, kind) and getattr(event, "shard", "") == shard)


def dead(catalogue: Catalogue, name: str, port: int) -> None:
    """A shard on a server that is not there, or says nothing."""
    secret = catalogue.instances()[0].secret_ref
    catalogue.add_instance(Instance(name, "external", "127.0.0.1", port, "larder", secret))
    catalogue.add_shard(name, name, "gone")


@pytest.mark.fault(6)
def test_dead_shards_and_vendors_delay_nobody(
    shop: Shop, silent: int, dripping: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    """A shard that refuses, one that never answers, a vendor that drips: the others' numbers are there long before."""
    monkeypatch.setattr(passes, "GATHER", 1.0)
    monkeypatch.setattr("ingestion.http._SLOWEST_ANSWER", 600.0)
    catalogue = shop.installation.catalogue
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead(catalogue, "shard_3", unused.getsockname()[1])
    dead(catalogue, "shard_4", silent)
    till = catalogue.source("diner/till")
    catalogue.add_source("diner", "acme", "slow", {"base_url": dripping[0]}, till.secret_ref)
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    seen: list[tuple[float, Event]] = []
    for event in cycle_events(shop.installation, replace(Scope(), patience=5.0)):
        seen.append((float(len(seen)), event))
        if {"shard_1", "shard_2"} <= {shard for shard, build in builds(seen).items() if build.state == "built"}:
            dripping[1].set()  # not before: a cycle that waits for this vendor never comes to its end
    states = {shard: (build.state, build.reason) for shard, build in builds(seen).items()}
    assert {shard: state for shard, (state, _) in states.items()} == {
        "shard_1": "built", "shard_2": "built", "shard_3": "failed", "shard_4": "failed",
    }  # fmt: skip
    assert "refused" in states["shard_3"][1] and "timeout" in states["shard_4"][1]
    assert [shop.rows(n, "select count(*) from {marts}.sum_sales_day") for n in (0, 1)] == [[(1,)], [(1,)]]
    slow = next(m for m, e in seen if isinstance(e, Extracted) and e.source == "diner/slow")
    assert at(seen, ShardBuild, "shard_1") < slow, "cafe's numbers did not wait for the diner's slow vendor"
    loads = [m for m, e in seen if isinstance(e, Loaded) and e.business == "diner"]
    assert loads and loads[0] < slow, "nor did what the diner's other source gave"
    assert [e.failure.turn for _, e in seen if isinstance(e, Extracted) and e.failure] == ["vendor"]
    figure("shards left out", sum(state == "failed" for state, _ in states.values()))


def test_what_must_agree_is_tested_once_all_is_here(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two passes there may be orders without their payments; what the first changed is tested by the last."""
    monkeypatch.setattr(passes, "next_pass", lambda pending: list(pending)[:1])
    for order in ("a", "b"):
        shop.sell("cafe", order, "3.10")
        run_cycle(shop.installation, Scope(steps=("extract",), force=True))
    events = list(cycle_events(shop.installation, Scope(steps=("load", "build"), shards=frozenset({"shard_1"}))))
    done = [event.result for event in events if isinstance(event, ShardBuild) and event.result is not None]
    changed = [{n.name for n in result.models if n.changed} for result in done]
    tested = [{n.name for n in result.nodes if n.kind == "test"} for result in done]
    assert len(done) > 1 and changed[0] - changed[-1], "the last changes less than the first"
    assert not any(tested[:-1]) and tested[-1]
    plain = run_cycle(shop.installation, Scope(steps=("build",), shards=frozenset({"shard_1"}), force=True))
    [whole] = [build.result for build in plain.builds if build.result is not None]
    assert tested[-1] == {n.name for n in whole.nodes if n.kind == "test"}


@pytest.mark.fault(6)
def test_a_locked_shard_is_ended_at_the_deadline_and_frees_its_lease(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "OVERTIME", 2.0)  # there is one worker; whoever comes first, the other has its turn
    began = time.monotonic()
    run_cycle(shop.installation)  # both shards
    enough = max(8.0, workers.OVERTIME + 2 * (time.monotonic() - began))  # for the other, on a busy machine too
    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "a", "3.10")
    shop.sell("diner", "b", "7.25")
    with closing(psycopg2.connect(shop.shards[0].dsn)) as lock, lock.cursor() as cur:
        cur.execute(shop.shards[0].render("lock table {marts}.fct_sale in access exclusive mode"))
        seen = timed(cycle_events(shop.installation, replace(Scope(), within=enough)))
        ends = builds(seen)
        assert ends["shard_2"].state == "built", ends["shard_2"].reason
        assert at(seen, ShardDone, "shard_2") < at(seen, ShardDone, "shard_1")
        assert ends["shard_1"].state == "failed" and "not finished after" in ends["shard_1"].reason
        assert [e.versions for _, e in seen if isinstance(e, Loaded) and e.shard == "shard_1"] == [1]
    assert {b.shard: b.state for b in run_cycle(shop.installation).builds}["shard_1"] == "built"


def test_a_business_on_its_way_waits_and_nothing_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.rows(0, "update {keys}.route set state = 'paused' where name = 'cafe'")
    events = cycle_events(shop.installation, Scope())
    tried = threading.Event()
    monkeypatch.setattr(passes, "GATE_PAUSE", 0.5)
    closed = passes.Passes._gate_closed

    def opened_then(self: Any, *given: Any) -> None:
        closed(self, *given)
        if not tried.is_set():
            tried.set()
            shop.rows(0, "update {keys}.route set state = 'active' where name = 'cafe'")

    monkeypatch.setattr(passes.Passes, "_gate_closed", opened_then)
    seen = list(events)
    assert tried.is_set() and not [e for e in seen if isinstance(e, Loaded) and e.failure]
    assert [e.versions for e in seen if isinstance(e, Loaded) and e.business == "cafe"] == [1]
    assert shop.rows(0, "select count(*) from {marts}.sum_sales_day") == [(1,)]
    assert due(shop.installation) == {}


@pytest.mark.fault(4)
def test_a_closed_cycle_leaves_nobody_at_work(shop: Shop) -> None:
    """A cancelled run: its workers are ended, its leases are free at once."""
    shop.sell("cafe", "a", "3.10")
    events = cycle_events(shop.installation, Scope())
    next(events)
    events.close()
    report = run_cycle(shop.installation)
    assert {b.shard: b.state for b in report.builds} == {"shard_1": "built", "shard_2": "built"}


KILLED = """
import sys
from orchestration.alive import alive
with alive(sys.argv[1], sys.argv[2]):
    print("alive", flush=True)
    sys.stdin.read()
"""


@pytest.mark.fault(4)
def test_a_run_whose_process_was_killed_is_not_waited_for(shop: Shop) -> None:
    at_, dsn = shop.installation, shop.installation.catalogue.dsn

    @dg.job(name="cycle")
    def cycle() -> None:
        pass

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(cycle)
        instance.report_dagster_event(DagsterEvent(dg.DagsterEventType.RUN_START.value, "cycle"), run.run_id)
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, dsn, run.run_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout is not None and child.stdin is not None
        try:
            assert child.stdout.readline() == b"alive\n"
            later = time.time() + 600
            assert still_running(instance, at_, later) == [run.run_id], "it lives, however long it takes"
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            child.stdin.close()
        until(lambda: not is_alive(dsn, run.run_id))
        assert still_running(instance, at_, time.time()) == [run.run_id], "one that begins may not have said so yet"
        assert still_running(instance, at_, later) == []
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None and ended.status == dg.DagsterRunStatus.FAILURE


def test_sources_say_how_they_stand(shop: Shop) -> None:
    catalogue = shop.installation.catalogue
    shop.broken = {"cafe"}
    extract = Scope(steps=("extract",))
    run_cycle(shop.installation, extract)
    run_cycle(shop.installation, extract)
    catalogue.set_source_state("diner/till", "paused", "ada", "the vendor moves house")
    cafe, diner = standings(catalogue, shop.now, catalogue.sources())
    assert cafe.state == "backing_off" and "refuses the credentials" in cafe.because
    assert cafe.next_due is not None and cafe.next_due - shop.now > timedelta(hours=5)
    assert cafe.next_command == "larder source check cafe/till"
    assert diner.state == "paused" and diner.because.endswith("by ada: the vendor moves house")
    assert "due of" not in str(due(shop.installation)), "who waits is no reason for a run"
    catalogue.set_source_state("diner/till", "active")
    shop.now += timedelta(hours=7)
    shop.broken = set()
    assert {e.source for e in run_cycle(shop.installation, extract).extracted} == {"cafe/till", "diner/till"}
    assert {one.state for one in standings(catalogue, shop.now, catalogue.sources())} == {"ok"}


def test_the_end_of_a_time_can_be_brought_forward() -> None:
    until = Until()
    assert until.left == float("inf") and not until.over
    until.end()
    assert until.over
    until.sleep(3600.0)  # returns
