"""Serving over HTTP: connections, manners, faults, and the sandbox as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ingestion.errors import ConfigError
from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import OPENS_AT
from ingestion.sandbox.http import Answer, Bucket, Fault, Faults, Request
from ingestion.sandbox.server import HICCUP, VendorServer, serving, vendor_names

RECORDS = [{"id": "a", "total_money": {"amount": 5, "currency": "USD"}}, {"id": "b"}]


class Corner:
    """A vendor that lists two records and knows one token."""

    rate = 10_000

    def answer(self, request: Request) -> Answer:
        if request.token != "good":
            return self.unauthorized()
        return Answer.json({"records": RECORDS, "path": request.path, "now": request.now.isoformat()})

    def throttled(self, retry_after: int) -> Answer:
        return Answer.json({"error": "slow down"}, 429, {"Retry-After": str(retry_after)})

    def unauthorized(self) -> Answer:
        return Answer.json({"error": "who are you?"}, 401)


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    (tmp_path / "sandbox").mkdir()
    return Faults(tmp_path / "sandbox" / "faults.json")


@pytest.fixture
def line(tmp_path: Path, faults: Faults) -> Iterator[http.client.HTTPConnection]:
    """A connection to the corner vendor, kept open."""
    server = VendorServer("corner", Corner(), SandboxClock(tmp_path), faults)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", int(server.server_address[1]), timeout=10)
    yield connection
    connection.close()
    server.shutdown()
    server.server_close()


def get(line: http.client.HTTPConnection, token: str = "good") -> tuple[int, Any, Any]:
    line.request("GET", "/records?x=1", headers={"Authorization": f"Bearer {token}"})
    response = line.getresponse()
    body = response.read()
    return response.status, json.loads(body), response.headers


def test_one_connection_serves_many_requests(line: http.client.HTTPConnection) -> None:
    get(line)
    before = line.sock
    assert [get(line)[0] for _ in range(5)] == [200] * 5
    assert line.sock is before


def test_every_so_many_requests_one_is_throttled_and_says_when_to_come_back(line: http.client.HTTPConnection) -> None:
    answers = [get(line) for _ in range(2 * HICCUP)]
    throttled = [n for n, (status, _, _) in enumerate(answers, 1) if status == 429]
    assert throttled == [HICCUP, 2 * HICCUP]
    assert answers[HICCUP - 1][2]["Retry-After"] == "1"


def test_a_bucket_holds_a_second_and_fills_with_time() -> None:
    now = [100.0]
    bucket = Bucket(5, lambda: now[0])
    assert [bucket.take("t") for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take("other")
    now[0] += 0.4
    assert [bucket.take("t") for _ in range(3)] == [True, True, False]


def test_the_clock_is_read_at_every_request(line: http.client.HTTPConnection, tmp_path: Path) -> None:
    assert get(line)[1]["now"] == OPENS_AT.isoformat()
    SandboxClock(tmp_path).advance(timedelta(days=1))
    assert get(line)[1]["now"] == (OPENS_AT + timedelta(days=1)).isoformat()


def test_refusals(line: http.client.HTTPConnection, faults: Faults) -> None:
    assert get(line, "bad")[0] == 401
    faults.set("corner", "unauthorized")
    assert get(line)[0] == 401
    faults.set("corner", "throttled")
    assert [get(line)[0] for _ in range(3)] == [429] * 3
    faults.set("corner", None)
    assert get(line)[0] == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("down", http.client.RemoteDisconnected),
        ("malformed", json.JSONDecodeError),
        ("truncated", json.JSONDecodeError),
    ],
)
def test_answers_that_cannot_be_read(
    line: http.client.HTTPConnection, faults: Faults, fault: Fault, error: type[Exception]
) -> None:
    faults.set("corner", fault)
    with pytest.raises(error):
        get(line)


def test_another_vendor_is_well_meanwhile(line: http.client.HTTPConnection, faults: Faults) -> None:
    faults.set("elsewhere", "down")
    assert get(line)[0] == 200


def test_spoiled_records(line: http.client.HTTPConnection, faults: Faults) -> None:
    faults.set("corner", "spoiled", id=None, **{"total_money.currency": "ZZZ"})
    first, second = get(line)[1]["records"]
    assert (first, second) == ({"total_money": {"amount": 5, "currency": "ZZZ"}}, {"id": "b"})
    faults.set("corner", "spoiled", id="a\0b", **{"total_money.amount": {"raw": "1e200000"}})
    line.request("GET", "/records", headers={"Authorization": "Bearer good"})
    body = line.getresponse().read()
    assert rb'"a\u0000b"' in body and b'"amount":1e200000' in body


def test_all_vendors_serve_on_the_ports_of_before(tmp_path: Path) -> None:
    with serving(tmp_path, ["meta_ads"]) as urls:
        port = urlsplit(urls["meta_ads"]).port
        assert port
        with serving(tmp_path, ["meta_ads"], {"meta_ads": port}) as taken:
            assert taken != urls
    with serving(tmp_path, ["meta_ads"], {"meta_ads": port}) as again:
        assert again == urls
    assert {"meta_ads", "sevenshifts", "square", "toast"} <= set(vendor_names())


def test_up_status_down_and_up_again(tmp_path: Path) -> None:
    assert process.running(tmp_path) is None and not process.down(tmp_path)
    running = process.up(tmp_path)
    try:
        assert process.up(tmp_path) == running == process.running(tmp_path)
        assert sorted(running.urls) == vendor_names()
        assert all(url.startswith("http://127.0.0.1:") for url in running.urls.values())
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
        assert process.running(tmp_path) is None
        again = process.up(tmp_path)
        assert again.urls == running.urls
    finally:
        assert process.down(tmp_path)
    assert process.running(tmp_path) is None


def test_a_sandbox_that_cannot_start_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "clock.json").write_text("{")
    with pytest.raises(ConfigError, match="did not start") as error:
        process.up(tmp_path)
    assert str(tmp_path / "logs" / "sandbox.log") in error.value.next_command
