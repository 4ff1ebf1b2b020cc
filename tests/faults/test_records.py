"""Records that shift between two pages, lose their token on the way, or are not what they were: all the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ingestion import index
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.test_stores import cursors
from tests.faults.world import World
from tests.ingestion.conftest import ITEMS, Shop, make_spec
from tests.ingestion.conftest import shop as shop
from tests.ingestion.test_manners import OAUTH, answer, with_secrets

Between = Callable[[int], Response | None]
"""Told the number of a page before it is answered; what it gives is answered instead."""


@pytest.fixture
def paged(world: World) -> Iterator[Callable[[Between], list[int]]]:
    """`paged(between)`: the cafe's sales come two a page, after those of the page before; the pages asked for."""

    def change(between: Between) -> list[int]:
        asked: list[int] = []

        def page(request: Request) -> Response:
            asked.append(len(asked) + 1)
            instead = between(asked[-1])
            if instead is not None:
                return instead
            sales = json.loads(world.shop.answer(request).get_data())["data"]
            sales = sorted(sales, key=lambda sale: (sale["changed"], sale["id"]))
            after = request.args.get("cursor", "")
            rest = [sale for sale in sales if f"{sale['changed']} {sale['id']}" > after]
            more = {"next": f"{rest[1]['changed']} {rest[1]['id']}"} if len(rest) > 2 else {}
            return answer({"data": rest[:2], **more})

        world.vendor.clear()
        world.vendor.expect_request("/sales").respond_with_handler(page)
        return asked

    yield change
    world.vendor.clear()
    world.vendor.expect_request("/sales").respond_with_handler(world.shop.answer)


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.fault(15)
def test_sales_that_change_and_vanish_between_pages(
    world: World, paged: Callable[[Between], list[int]], figure: Figure
) -> None:
    """One that stands on a later page is corrected, another is deleted, a third is new: before the second page."""
    world.shop.now += timedelta(minutes=30)  # the overlap of windows tells nothing else
    for number in range(8):
        world.sell(f"shift{number}", f"{number + 1}.25")
    shifted = [0]

    def between(page: int) -> None:
        if page == 2:
            world.shop.now += timedelta(seconds=20)
            world.sell("shift6", "60.66")
            world.sell("shift8", "8.80")
            del world.prices["cafe"]["shift7"]
            world.shop.sales["cafe"][:] = [sale for sale in world.shop.sales["cafe"] if sale["id"] != "shift7"]
            shifted[0] += 3

    asked = paged(between)
    assert world.aside(world.cycle) == 0, world.said
    assert len(asked) >= 3 and shifted == [3]
    stayed = "select count(*) from {marts}.fct_sale where natural_key similar to 'shift[0-5]'"
    assert world.rows("cafe", stayed) == [(6,)]
    figure("pages", len(asked))
    world.shop.now += timedelta(minutes=10)
    figure("to heal", healed(world), "s", "max")
    figure("records shifted", shifted[0])


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.fault(16)
def test_a_token_that_is_refused_between_pages_for_good(
    world: World, paged: Callable[[Between], list[int]], figure: Figure
) -> None:
    """There is no other: the window is given up as the credentials' turn; no block, no cursor, nothing is lost."""
    world.shop.now += timedelta(minutes=30)
    for number in range(6):
        world.sell(f"token{number}", f"{number + 1}.75")
    before, refused = cursors(world), [0]

    def between(page: int) -> Response | None:
        if page < 2:
            return None
        refused[0] += 1
        return Response('{"error": "expired"}', 401)

    paged(between)
    assert world.aside(world.cycle) == 1, "it was taken for an answer"
    assert "turn: credentials" in world.said, world.said
    assert cursors(world) == before and refused[0] > 0
    paged(lambda _: None)
    figure("tokens refused", refused[0])
    figure("to heal", healed(world), "s", "max")


@pytest.mark.fault(16)
def test_a_token_that_is_refused_between_pages_is_replaced(shop: Shop, httpserver: HTTPServer, figure: Figure) -> None:
    """Each token is good for two pages; the window is read to its end, no record is lost or twice."""
    issued: list[str] = []
    used: dict[str, int] = {}

    def token(_: Request) -> Response:
        issued.append(f"t{len(issued) + 1}")
        return answer({"access_token": issued[-1], "expires_in": 3600})

    def items(request: Request) -> Response:
        bearer = request.headers["Authorization"].removeprefix("Bearer ")
        used[bearer] = used.get(bearer, 0) + 1
        if bearer != issued[-1] or used[bearer] > 2:
            return Response("{}", status=401, mimetype="application/json")
        page = int(request.args.get("cursor", 0))
        return answer({"data": [{"id": page}], **({"next": str(page + 1)} if page < 6 else {})})

    httpserver.expect_request("/token", method="POST").respond_with_handler(token)
    httpserver.expect_request("/items").respond_with_handler(items)
    source = shop.source(base_url=httpserver.url_for(""), token_url=httpserver.url_for("/token"))
    secrets = {"client_id": "me", "client_secret": "s3cret", "refresh_token": "of its own"}
    spec = make_spec(ITEMS | {"paging": {"type": "cursor_query", "cursor": "next"}}, auth=OAUTH)
    (result,) = shop.extract(with_secrets(source, **secrets), spec)
    assert result.error is None, result.error
    assert sorted(json.loads(record)["id"] for record in shop.records()) == list(range(7))
    assert len(issued) > 2
    figure("tokens refused", len(issued) - 1)


# -- records -----------------------------------------------------------------------------------------------------------


def drifted(world: World) -> set[tuple[str, str]]:
    with closing(index.connect(world.catalogue.dsn)) as conn, conn.cursor() as cur:
        cur.execute("select field, change from control.drift")
        return set(cur.fetchall())


@pytest.mark.faults
@pytest.mark.fault(19)
def test_fields_that_are_new_missing_and_renamed(world: World, figure: Figure) -> None:
    """They are told of and in raw; with the vendor's books as they were, everything is equal again."""
    books = world.shop.sales["cafe"]
    for number in range(12):
        world.sell(f"shape{number}", "3.30")
    assert world.aside(world.cycle) == 0, world.said
    before = drifted(world)
    world.shop.now += timedelta(minutes=1)
    for number in range(3):
        world.sell(f"renamed{number}", "4.40")
        books[-1]["amount"] = books[-1].pop("total")
        world.sell(f"more{number}", "5.50", loyalty={"points": number})
    assert world.aside(world.cycle) == 0, world.said
    told = drifted(world) - before
    assert {("amount", "new"), ("total", "missing"), ("loyalty", "new")} <= told, told
    kept = "select count(*) from {raw}_acme.sales_current where natural_key similar to '(renamed|more)_'"
    assert world.rows("cafe", kept) == [(6,)]
    world.shop.now += timedelta(minutes=1)
    for number in range(3):
        world.sell(f"renamed{number}", "4.40")
    figure("to heal", healed(world), "s", "max")
    figure("fields told of", len(told))


@pytest.mark.faults
@pytest.mark.fault(18)
@pytest.mark.parametrize("wrong", [{"total": "much"}, {"day": "someday"}])
def test_a_value_that_is_none_fails_its_shard_alone(world: World, wrong: dict[str, Any], figure: Figure) -> None:
    [(name, value)] = wrong.items()
    world.shop.now += timedelta(minutes=1)
    for business in ("cafe", "diner"):
        world.sell(f"wrong-{name}", "9.90", business)
    world.shop.sales["cafe"][-1][name] = value
    assert world.aside(world.cycle) == 1
    assert value in world.said, world.said
    assert world.aside(lambda: world.cycle("diner"), "diner") == 0, world.said
    world.check("diner")
    world.shop.now += timedelta(minutes=1)
    world.sell(f"wrong-{name}", "9.95")
    figure("to heal", healed(world), "s", "max")
    figure("values", 1)


@pytest.mark.faults
@pytest.mark.fault(23)
def test_sales_of_the_future_and_of_1970(world: World, figure: Figure) -> None:
    """Whatever window they are asked for, the vendor gives them; a correction of the right time counts."""
    odd = {"epoch": "1970-01-01T00:00:00.000Z", "century": "2125-01-01T00:00:00.000Z"}
    for key, changed in odd.items():
        world.sell(key, "1.01", changed=changed)

    def anyway(request: Request) -> Response:
        found = json.loads(world.shop.answer(request).get_data())["data"]
        return answer({"data": found + [sale for sale in world.shop.sales["cafe"] if sale["changed"] in odd.values()]})

    world.vendor.clear()
    world.vendor.expect_request("/sales").respond_with_handler(anyway)
    try:
        assert world.aside(world.cycle) == 0, world.said
    finally:
        world.vendor.clear()
        world.vendor.expect_request("/sales").respond_with_handler(world.shop.answer)
    found = "select natural_key from {marts}.fct_sale where natural_key in ('epoch', 'century')"
    assert world.rows("cafe", found) == [("epoch",)]
    world.shop.now += timedelta(minutes=1)
    for key in odd:
        world.sell(key, "2.02")
    figure("to heal", healed(world), "s", "max")
    figure("times", len(odd))
