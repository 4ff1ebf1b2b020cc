"""Sources and vendors that fail are left alone for a while, and come back by themselves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ingestion import backoff, index
from ingestion.extract import Options, StreamResult, extract_all
from ingestion.limits import Until
from ingestion.source import SourceRef
from tests.ingestion.conftest import BUSINESS, ITEMS, SALES, Shop, make_spec

SPEC = make_spec(ITEMS, SALES)


@pytest.fixture(autouse=True)
def _spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.extract.spec_of", lambda *_: SPEC)


class Vendor:
    """Answers by path; `down` fails with HTTP 500, `refused` with 401."""

    def __init__(self, server: HTTPServer) -> None:
        self.url, self.down, self.refused, self.asked = server.url_for(""), set[str](), set[str](), 0
        server.expect_request("/items").respond_with_handler(self.answer)
        server.expect_request("/sales").respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        self.asked += 1
        if request.path in self.down:
            return Response("oops", 500)
        if request.path in self.refused:
            return Response("no", 401)
        body = '{"data": [{"id": 1, "changed": "2025-03-10T11:00:00Z"}]}'
        return Response(body, 200, content_type="application/json")


@pytest.fixture
def acme(vendor: HTTPServer) -> Vendor:
    return Vendor(vendor)


def extract(shop: Shop, *sources: SourceRef, **options: Any) -> list[StreamResult]:
    given = {"patience": 0.2, **options}
    return extract_all(sources, shop.store, shop.dsn, shop.clock, Options(**given))


def outcomes(results: list[StreamResult]) -> set[str]:
    return {result.outcome for result in results}


def held(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("select source_id & 1023, stream, failures, turn from control.backoff order by 1, 2")


def test_a_source_that_fails_waits_longer_each_time_and_a_success_forgets_it(shop: Shop, acme: Vendor) -> None:
    source = shop.source(base_url=acme.url)
    acme.down = {"/items", "/sales"}
    assert outcomes(extract(shop, source)) == {"failed"} and held(shop) == [(1, "", 1, "vendor")]
    assert outcomes(extract(shop, source)) == {"failed"}, "once more at the next cycle: most failures are short"
    asked = acme.asked
    assert outcomes(extract(shop, source)) == {"backing_off"} and acme.asked == asked
    shop.now += timedelta(minutes=12)
    extract(shop, source)
    shop.now += timedelta(minutes=12)
    assert outcomes(extract(shop, source)) == {"backing_off"}, "twice as long"
    acme.down = set()
    shop.now += timedelta(minutes=12)
    assert outcomes(extract(shop, source)) == {"block"} and held(shop) == []


def test_a_stream_that_fails_alone_waits_alone(shop: Shop, acme: Vendor) -> None:
    source = shop.source(base_url=acme.url)
    acme.down = {"/sales"}
    for _ in range(3):
        extract(shop, source)
        shop.now += timedelta(minutes=12)
    assert held(shop) == [(1, "sales", 3, "vendor")]
    assert {r.stream: r.outcome for r in extract(shop, source)} == {"items": "empty", "sales": "backing_off"}


def test_refused_credentials_wait_for_a_person(shop: Shop, acme: Vendor) -> None:
    source = shop.source(base_url=acme.url)
    acme.refused = {"/items", "/sales"}
    extract(shop, source)
    extract(shop, source)
    shop.now += timedelta(hours=4)
    assert outcomes(extract(shop, source)) == {"backing_off"}
    acme.refused = set()
    assert outcomes(extract(shop, source, heed=False)) == {"block"}, "somebody's own try"
    assert held(shop) == []


def test_a_vendor_that_fails_everybody_is_left_alone_until_one_source_finds_it_well(shop: Shop, acme: Vendor) -> None:
    sources = [shop.source(n, base_url=acme.url) for n in range(1, 31)]
    acme.down = {"/items", "/sales"}
    first = extract(shop, *sources)
    failed = {r.source.name for r in first if r.outcome == "failed"}
    alone = {r.source.name for r in first if r.outcome == "breaker"}
    assert len(failed) + len(alone) == 30 and len(failed) < 3 + 4 and len(alone) >= 23
    with closing(index.connect(shop.dsn)) as conn:
        assert backoff.breakers(conn)["acme"].trips == 1
    asked = acme.asked
    assert outcomes(extract(shop, *sources)) == {"breaker"} or acme.asked == asked

    shop.now += timedelta(minutes=15)
    again = extract(shop, *sources)
    assert len({r.source.name for r in again if r.outcome == "failed"}) == 1, "one asks, the others wait for it"
    with closing(index.connect(shop.dsn)) as conn:
        assert backoff.breakers(conn)["acme"].trips == 2

    acme.down = set()
    shop.now += timedelta(minutes=25)
    healed = extract(shop, *sources)
    assert "block" in outcomes(healed) and not outcomes(healed) & {"breaker", "failed"}
    assert shop.rows("select count(*) from control.breakers") == [(0,)]


def test_two_failing_sources_are_no_outage(shop: Shop, acme: Vendor) -> None:
    bad = [shop.source(n, base_url="http://127.0.0.1:9") for n in (1, 2, 3, 4)]
    good = [shop.source(n, base_url=acme.url) for n in range(5, 9)]
    results = extract(shop, *bad[:2], *good)
    assert shop.rows("select count(*) from control.breakers") == [(0,)]
    assert {r.source.name for r in results if r.outcome == "block"} == {"s5", "s6", "s7", "s8"}


@pytest.fixture
def dripping() -> Iterator[str]:
    """A vendor that sends its headers one byte every 50 ms, for ever: no read of it ever times out."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(one: socket.socket) -> None:
        with one:
            while not over.wait(0.05):
                try:
                    one.sendall(b"H" if one.recv(1 << 16, socket.MSG_DONTWAIT) else b"T")
                except BlockingIOError:
                    try:
                        one.sendall(b"T")
                    except OSError:
                        return
                except OSError:
                    return

    def serve() -> None:
        while not over.is_set():
            try:
                threading.Thread(target=drip, args=(server.accept()[0],), daemon=True).start()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    over.set()
    server.close()


@pytest.mark.fault(13)
def test_an_answer_that_drips_is_ended_and_is_the_vendors_fault(
    shop: Shop, dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.http._SLOWEST_ANSWER", 1.0)
    began = time.monotonic()
    [result, _] = extract(shop, shop.source(base_url=dripping), patience=0.5)
    assert result.error is not None and "did not come to the end of its answer in 1 s" in result.error.cause
    assert result.error.turn == "vendor" and time.monotonic() - began < 30


def test_the_end_of_a_run_cuts_off_what_hangs_and_blames_nobody(shop: Shop, dripping: str, acme: Vendor) -> None:
    hanging, well = shop.source(1, base_url=dripping), shop.source(2, base_url=acme.url)
    results = extract(shop, hanging, well, patience=60.0, until=Until(3.0))
    assert {r.outcome for r in results if r.source.name == "s1"} == {"put_off"}
    assert {r.outcome for r in results if r.source.name == "s2"} == {"block"}
    assert held(shop) == [] and shop.rows("select count(*) from control.extraction_log where outcome = 'failed'") == [
        (0,)
    ]


def test_catching_up_goes_window_by_window_and_others_come_between(
    shop: Shop, acme: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = SALES | {"cursor": {"lag": "5m", "initial": "10d", "max_window": "1d"}}
    monkeypatch.setattr("ingestion.extract.spec_of", lambda *_: make_spec(sales))
    shop.rows(
        "insert into control.businesses (business, name, display_name, shard) values (8, 'diner', 'D', 'shard_1')"
    )
    behind = shop.source(1, base_url=acme.url)
    other = SourceRef((8 << 45) | 1, 8, "diner", "acme", "till", {"base_url": acme.url}, {"token": "t"})
    shop.rows(
        "insert into control.sources (source_id, business, integration, name) values (%s, 8, 'acme', 'till')",
        other.source_id,
    )
    results = extract_all([behind, other], shop.store, shop.dsn, shop.clock, Options(patience=1.0, turn=0.0), workers=1)
    assert len(results) > 4 and not any(r.error for r in results)
    windows = shop.rows("select source_id, window_from, window_to from control.extraction_log order by id")
    mine = [row[1] for row in windows if row[0] >> 45 == BUSINESS]
    assert mine == sorted(mine) and len(mine) >= 10, "oldest first"
    assert [row[0] >> 45 for row in windows[:4]] in ([BUSINESS, 8] * 2, [8, BUSINESS] * 2), "turn and turn about"
    assert shop.rows("select count(*) from control.cursors where due_at is not null") == [(2,)]
