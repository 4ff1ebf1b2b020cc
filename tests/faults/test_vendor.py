"""A vendor that fails for a while: no block and no cursor comes of it, and afterwards nothing is missing."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from werkzeug import Request, Response

from ingestion import paging
from sharding.model import Shard
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.test_stores import cursors
from tests.faults.world import World
from tests.ingestion.raw_model import START, depot
from tests.sharding.moving.faults import Line

Answer = Callable[[Response], Response]


def cut(response: Response) -> Response:
    """Gzip that ends in the middle, of the length that was announced."""
    packed = gzip.compress(response.get_data())
    return Response(packed[: len(packed) // 2], headers={"Content-Encoding": "gzip"}, content_type="application/json")


def endless(response: Response) -> Response:
    return Response(json.dumps({"data": [], "next": f"{time.monotonic_ns()}"}), content_type="application/json")


ALWAYS: dict[str, tuple[int, Answer]] = {  # rows 12, 13, 14 and 17
    "429, come back in a second": (12, lambda r: Response("", 429, headers={"Retry-After": "1"})),
    "429": (12, lambda r: Response("", 429)),
    "500": (13, lambda r: Response("", 500)),
    "gzip cut short": (17, cut),
    "JSON cut short": (17, lambda r: Response(r.get_data()[:-5], content_type="application/json")),
    "another page for ever": (14, endless),
}
OFTEN = ("gzip cut short", "another page for ever")


@pytest.fixture
def vendor(world: World) -> Iterator[Callable[[Answer], None]]:
    """`vendor(answer)`: change every answer of the vendor."""

    def change(answer: Answer) -> None:
        world.vendor.clear()
        world.vendor.expect_request("/sales").respond_with_handler(lambda r: answer(world.shop.answer(r)))

    world.patience = 0.3
    yield change
    world.patience = 5.0
    change(lambda response: response)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.fault(row), *([] if name in OFTEN else [pytest.mark.faults])])
        for name, (row, _) in ALWAYS.items()
    ],
)
def test_a_vendor_that_fails_without_end(
    world: World, vendor: Callable[[Answer], None], name: str, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    monkeypatch.setattr(paging, "_LONG", 20)
    world.trade(9000 + list(ALWAYS).index(name))
    before = cursors(world)
    vendor(ALWAYS[name][1])
    assert world.aside(world.cycle) == 1, "it was taken for an answer"
    assert "turn: vendor" in world.said, world.said
    assert cursors(world) == before
    vendor(lambda response: response)
    figure("to heal", healed(world), "s", "max")


@pytest.mark.fault(12)
@pytest.mark.parametrize("says", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_a_vendor_that_throttles_for_a_while(
    world: World, vendor: Callable[[Answer], None], says: bool, figure: Figure
) -> None:
    """It is waited for, and asked again no sooner than it said."""
    world.patience = 20.0
    asked: list[float] = []

    def throttled(response: Response) -> Response:
        asked.append(time.monotonic())
        if len(asked) > 2:
            return response
        return Response("", 429, headers={"Retry-After": "1"} if says else {})

    world.trade(9100 + says)
    vendor(throttled)
    assert world.aside(world.cycle) == 0, world.said
    world.check()
    assert len(asked) == 3 and (not says or asked[1] - asked[0] >= 1)
    figure("waited", asked[2] - asked[0], "s", "max")


@pytest.mark.fault(13)
def test_a_line_that_is_reset_in_an_answer(world: World, vendor: Callable[[Answer], None], figure: Figure) -> None:
    """Each answer of the first few is cut off; the same request is sent again until one comes through."""
    world.patience = 20.0
    world.trade(9200)
    line = Line("127.0.0.1", world.vendor.port)
    cuts = [0]

    def answer(request: Request) -> Response:
        if cuts[0] < 3:
            cuts[0] += 1
            line.cut()
        return world.shop.answer(request)

    source = world.catalogue.source("cafe/till")
    world.vendor.clear()
    world.vendor.expect_request("/sales").respond_with_handler(answer)
    try:
        through(world, source.id, line.port)
        assert world.aside(world.cycle) == 0, world.said
    finally:
        line.close()
        through(world, source.id, world.vendor.port)
    world.check()
    assert cuts[0] == 3
    figure("resets", cuts[0])


def through(world: World, source: int, port: int) -> None:
    """Let the source reach its vendor at another port."""
    with world.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute(
            "update control.sources set config = config || jsonb_build_object('base_url', %s::text)"
            " where source_id = %s",
            (f"http://127.0.0.1:{port}", source),
        )


@pytest.mark.fault(23)
def test_times_out_of_the_ordinary(make_shard: Callable[..., Shard], tmp_path: Path, figure: Figure) -> None:
    """1970 is a time like any other and gives way to a later one; what is more than a day ahead is set aside."""
    raw = depot(make_shard, tmp_path)
    tomorrow = (START + timedelta(hours=23)).isoformat()
    old = raw.block("orders", [
        {"id": "epoch", "changed": "1970-01-01T00:00:00Z", "total": 1},
        {"id": "before", "changed": "1901-01-01T00:00:00Z", "total": 1},
        {"id": "zero", "changed": "0001-01-01T00:00:00Z", "total": 1},
        {"id": "ahead", "changed": tomorrow, "total": 1},
        {"id": "far", "changed": "2125-01-01T00:00:00Z", "total": 1},
        {"id": "end", "changed": "9999-12-31T23:59:59Z", "total": 1},
        {"id": "plain", "changed": START.isoformat(), "total": 1},
    ])  # fmt: skip
    assert not raw.load(old).failures
    assert {key for _, key in raw.current("orders")} == {"epoch", "before", "zero", "ahead", "plain"}
    aside = raw.run("select natural_key, reason from {raw}.quarantine order by 1")
    assert aside == [("end", "modified_in_future"), ("far", "modified_in_future")]
    later = [{"id": key, "changed": START.isoformat(), "total": 2} for key in ("epoch", "before", "zero", "far", "end")]
    assert not raw.load(raw.block("orders", later, at=5)).failures
    now = {key: version.payload["total"] for (_, key), version in raw.current("orders").items()}
    assert now == {"epoch": 2, "before": 2, "zero": 2, "far": 2, "end": 2, "ahead": 1, "plain": 1}
    figure("times", 7)
