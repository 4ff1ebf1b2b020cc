"""Manners that some vendors have: how they want to be asked, how they page, what they leave out, when they are open."""

import base64
import json
import re
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ingestion.source import SourceRef
from ingestion.times import parse_time
from tests.faults.record import Figure
from tests.ingestion.conftest import ITEMS, NOW, SALES, Shop, make_spec

OAUTH = {"type": "oauth_refresh", "url": "https://acme.example/token"}


def with_secrets(source: SourceRef, **secret: str) -> SourceRef:
    return SourceRef(source.source_id, source.business, "cafe", "acme", "s1", source.config, secret)


def answer(body: object) -> Response:
    return Response(json.dumps(body), mimetype="application/json")


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "header", "header": "Access-Token"}, "Access-Token", "s3cret"),
        (
            {"type": "basic", "secret": "access_token", "user": "any"},
            "Authorization",
            "Basic " + base64.b64encode(b"any:s3cret").decode(),
        ),
    ],
)
def test_a_secret_goes_where_the_vendor_wants_it(
    shop: Shop, vendor: HTTPServer, auth: dict[str, str], header: str, value: str
) -> None:
    vendor.expect_request("/items", headers={header: value, "developer-token": "d3v"}).respond_with_json(
        {"data": [{"id": 1}]}
    )
    spec = make_spec(ITEMS, auth=auth, secret_headers={"developer-token": "developer"})
    source = with_secrets(shop.source(base_url=vendor.url_for("")), access_token="s3cret", developer="d3v")
    assert [result.outcome for result in shop.extract(source, spec)] == ["block"]


@pytest.mark.fault(16)
def test_a_refresh_token_is_exchanged_and_a_refused_token_replaced(
    shop: Shop, vendor: HTTPServer, figure: Figure
) -> None:
    issued: list[dict[str, str]] = []

    def token(request: Request) -> Response:
        issued.append(dict(request.form))
        return answer({"access_token": f"t{len(issued)}", "expires_in": 3600})

    def items(request: Request) -> Response:
        good = request.headers["Authorization"] == "Bearer t2"
        return answer({"data": [{"id": 1}]}) if good else Response("{}", status=401, mimetype="application/json")

    vendor.expect_request("/token", method="POST").respond_with_handler(token)
    vendor.expect_request("/items").respond_with_handler(items)
    source = shop.source(base_url=vendor.url_for(""), token_url=vendor.url_for("/token"))
    secrets = {"client_id": "me", "client_secret": "s3cret", "refresh_token": "r3fresh"}
    (result,) = shop.extract(with_secrets(source, **secrets), make_spec(ITEMS, auth=OAUTH))
    assert (result.outcome, len(issued)) == ("block", 2)
    assert issued[0] == {"grant_type": "refresh_token", **secrets}
    figure("tokens refused", len(issued) - 1)


@pytest.mark.fault(16)
def test_a_refresh_token_that_is_refused_is_said_without_it(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/token").respond_with_json({"error": "invalid_grant", "hint": "0ther"}, status=400)
    source = shop.source(base_url=vendor.url_for(""), token_url=vendor.url_for("/token"))
    secrets = {"client_id": "me", "client_secret": "s3cret", "refresh_token": "0ther"}
    (result,) = shop.extract(with_secrets(source, **secrets), make_spec(ITEMS, auth=OAUTH))
    assert result.error is not None and result.error.turn == "credentials"
    assert "invalid_grant" in str(result.error) and "0ther" not in str(result.error)


def test_a_refresh_token_that_is_replaced_with_each_answer_is_kept(shop: Shop, vendor: HTTPServer) -> None:
    def token(request: Request) -> Response:
        number = int(request.form["refresh_token"].removeprefix("rotating"))
        return answer({"access_token": f"t{number}", "expires_in": 1, "refresh_token": f"rotating{number + 1}"})

    vendor.expect_request("/token", method="POST").respond_with_handler(token)
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    stored = {"client_id": "me", "client_secret": "s3cret", "refresh_token": "rotating1"}
    base = shop.source(base_url=vendor.url_for(""), token_url=vendor.url_for("/token"))
    for wanted in ("rotating2", "rotating3"):
        source = replace(with_secrets(base, **stored), keep_secret=stored.update)
        (result,) = shop.extract(source, make_spec(ITEMS, auth=OAUTH), force=True)
        assert result.error is None and stored["refresh_token"] == wanted
    (result,) = shop.extract(with_secrets(base, **stored), make_spec(ITEMS, auth=OAUTH), force=True)
    assert result.error is not None and "cannot be kept" in str(result.error) and "rotating" not in str(result.error)


def test_settings_are_part_of_the_address_and_a_list_is_a_repeated_parameter(shop: Shop, vendor: HTTPServer) -> None:
    seen: list[list[str]] = []

    def items(request: Request) -> Response:
        seen.append(request.args.getlist("filter"))
        return answer({"data": []})

    vendor.expect_request("/items").respond_with_handler(items)
    stream = SALES | {"path": "/items", "params": {"filter": ["changed>={from}", "changed<={to}"]}}
    spec = make_spec(
        stream,
        base_url="http://127.0.0.1:{config.port}",
        config={"port": {"about": "The port"}},
        auth={"type": "bearer"},
    )
    assert [result.outcome for result in shop.extract(shop.source(port=str(vendor.port)), spec)] == ["empty"]
    assert seen == [["changed>=2025-02-28T12:00:00.000Z", "changed<=2025-03-10T12:00:00.000Z"]]


def test_a_stream_may_be_on_another_host(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    spec = make_spec(
        ITEMS | {"base_url": "http://127.0.0.1:{config.port}"},
        config={"port": {"about": "The port"}},
        base_url="http://x",
    )
    assert [result.outcome for result in shop.extract(shop.source(port=str(vendor.port)), spec)] == ["block"]
    vendor.expect_request("/sandbox/items").respond_with_json({"data": [{"id": 2}]})
    sandboxed = shop.source(port="1", base_url=vendor.url_for("/sandbox"))
    assert [result.outcome for result in shop.extract(sandboxed, spec, force=True)] == ["block"]


class Orders:
    """Serves orders by offset, in the query or in the body, and refuses offsets beyond a limit."""

    def __init__(self, vendor: HTTPServer, *, beyond: int = 10**9) -> None:
        self.orders: list[dict[str, Any]] = []
        self.beyond = beyond
        vendor.expect_request("/orders").respond_with_handler(self._answer)

    def take(self, minutes_ago: float) -> None:
        self.orders.append({"id": len(self.orders), "changed": (NOW - timedelta(minutes=minutes_ago)).isoformat()})

    def _answer(self, request: Request) -> Response:
        asked = request.get_json() if request.method == "POST" else request.args
        offset = int(asked["start"])
        if offset > self.beyond:
            return Response('{"error": "offset"}', status=400, mimetype="application/json")
        found = [o for o in self.orders if asked["from"] <= o["changed"][:19] <= asked["to"][:19]]
        return answer(found[offset : offset + 4])


def by_offset(method: str, **paging: Any) -> dict[str, Any]:
    window = {"from": "{from}", "to": "{to}"}
    return SALES | {
        "name": "orders",
        "method": method,
        "path": "/orders",
        "params": window if method == "GET" else {},
        "body": window if method == "POST" else None,
        "records": "",
        "ascending": False,
        "paging": {"type": "offset", "send_as": "start", "size": 4} | paging,
    }


@pytest.mark.parametrize(("method", "place"), [("GET", "query"), ("POST", "body")])
@pytest.mark.parametrize("count", [0, 3, 4, 5, 17])
def test_pages_by_offset(shop: Shop, vendor: HTTPServer, method: str, place: str, count: int) -> None:
    till = Orders(vendor)
    for number in range(count):
        till.take(600 - number)
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(by_offset(method, **{"in": place})))
    assert result.error is None
    assert sorted(json.loads(record)["id"] for record in shop.records()) == list(range(count))


def test_beyond_the_vendors_last_offset_a_window_is_read_in_halves(shop: Shop, vendor: HTTPServer) -> None:
    till = Orders(vendor, beyond=8)
    for number in range(40):
        till.take(14_000 - 300 * number)
    source = shop.source(base_url=vendor.url_for(""))
    (result,) = shop.extract(source, make_spec(by_offset("GET", max_offset=8)))
    assert result.error is None and len(result.blocks) > 3
    assert sorted(json.loads(record)["id"] for record in shop.records()) == list(range(40))
    windows = [(manifest.window.start, manifest.window.end) for manifest in shop.manifests()]
    assert all(one[1] == other[0] for one, other in pairwise(windows))


def test_more_at_one_instant_than_the_vendor_serves_is_said(shop: Shop, vendor: HTTPServer) -> None:
    till = Orders(vendor, beyond=8)
    for _ in range(40):
        till.take(600)
    source = shop.source(base_url=vendor.url_for(""))
    (result,) = shop.extract(source, make_spec(by_offset("GET", max_offset=8)))
    assert result.error is not None and "than it serves" in str(result.error)


def test_the_number_of_pages_may_be_told_and_grow(shop: Shop, vendor: HTTPServer) -> None:
    rows = [{"id": number} for number in range(10)]
    asked: list[int] = []

    def items(request: Request) -> Response:
        page = int(request.args["page"])
        asked.append(page)
        if len(asked) == 3:
            rows.extend({"id": number} for number in range(10, 14))
        pages = -(-len(rows) // 5)
        return answer({"data": rows[page * 5 - 5 : page * 5], "info": {"pages": pages}})

    vendor.expect_request("/items").respond_with_handler(items)
    spec = make_spec(ITEMS | {"paging": {"type": "page_number", "size": 5, "pages": "info.pages"}})
    shop.extract(shop.source(base_url=vendor.url_for("")), spec)
    assert sorted(json.loads(record)["id"] for record in shop.records()) == list(range(14))
    assert asked == [1, 2, 1, 2, 3]


def test_a_list_that_the_vendor_cut_is_read_whole_and_the_record_keeps_its_spelling(
    shop: Shop, vendor: HTTPServer
) -> None:
    lines = [{"id": f"l{number}", "n": number} for number in range(7)]

    def more(request: Request) -> Response:
        offset = int(request.args["offset"])
        return answer({"elements": lines[offset : offset + 3]})

    cut = json.dumps({"elements": lines[:5]})
    body = f'{{"data": [{{"id": "a", "total": 1.50, "lines": {cut}}}, {{"id": "b", "lines": {{"elements": []}}}}]}}'
    vendor.expect_request("/items").respond_with_data(body)
    vendor.expect_request("/orders/a/lines").respond_with_handler(more)
    nested = {
        "path": "lines.elements",
        "limit": 5,
        "request": "/orders/{parent}/lines",
        "size": 3,
        "records": "elements",
    }
    shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS | {"nested": [nested]}))
    first, second = shop.records()
    assert json.loads(first)["lines"]["elements"] == lines
    assert b'"total":1.50' in first and json.loads(second) == {"id": "b", "lines": {"elements": []}}


def test_newest_first_is_read_until_it_gets_old(shop: Shop, vendor: HTTPServer) -> None:
    reviews = [{"id": number, "changed": (NOW - timedelta(hours=number)).isoformat()} for number in range(30)]
    asked: list[int] = []

    def items(request: Request) -> Response:
        at = int(request.args.get("cursor", 0))
        asked.append(at)
        more = {"next": str(at + 4)} if at + 4 < len(reviews) else {}
        return answer({"data": reviews[at : at + 4], **more})

    vendor.expect_request("/sales").respond_with_handler(items)
    spec = make_spec(SALES | {"params": {}, "ascending": False, "newest_first": True, "cursor": {"initial": "10d"}})
    source = shop.source(base_url=vendor.url_for(""))
    (result,) = shop.extract(source, spec)
    assert (result.records, len(asked)) == (30, 8)
    asked.clear()
    shop.now += timedelta(hours=1)
    reviews.insert(0, {"id": 99, "changed": (NOW + timedelta(minutes=30)).isoformat()})
    (result,) = shop.extract(source, spec)
    assert (result.records, asked) == (1, [0])


class Reviews:
    """Serves reviews of sites by change, newest first, with no filter; the id is the site and a number."""

    def __init__(self, vendor: HTTPServer, *sites: str) -> None:
        self.shown: dict[str, list[dict[str, Any]]] = {site: [] for site in sites}
        self.refused = ""
        self.asked = 0
        vendor.expect_request("/sites").respond_with_handler(
            lambda _: answer({"data": [{"id": s} for s in self.shown]})
        )
        vendor.expect_request(re.compile("/reviews/.*")).respond_with_handler(self._answer)

    def write(self, site: str, number: int, hours_ago: float) -> None:
        changed = (NOW - timedelta(hours=hours_ago)).isoformat()
        self.shown[site].insert(0, {"id": f"{site}{number}", "changed": changed})

    def _answer(self, request: Request) -> Response:
        self.asked += 1
        site = request.path.rpartition("/")[2]
        if site == self.refused:
            return Response("{}", status=400, mimetype="application/json")
        at = int(request.args.get("cursor", 0))
        more = {"next": str(at + 4)} if at + 4 < len(self.shown[site]) else {}
        return answer({"data": self.shown[site][at : at + 4], **more})


SWEPT = SALES | {
    "path": "/reviews/{site}",
    "params": {},
    "ascending": False,
    "newest_first": True,
    "sites": {"stream": "sites", "field": "id"},
    "sweep": "1d",
    "cadence": "1h",
}
SITES = ITEMS | {"name": "sites", "path": "/sites"}


def windows(shop: Shop) -> list[tuple[str | None, bool, int]]:
    """Start, completeness and records of the blocks of sales, in order."""
    of_sales = [m for m in shop.manifests() if m.stream == "sales"]
    return [(m.window.start, m.window.complete, m.records) for m in of_sales]


def test_a_stream_that_tells_no_deletions_is_swept_at_times(shop: Shop, vendor: HTTPServer) -> None:
    portal = Reviews(vendor, "a", "b")
    for number in range(10):
        portal.write("a", number, 5000 - number)
        portal.write("b", number, 40 - number)
    source, spec = shop.source(base_url=vendor.url_for(""), since="2025-03-09"), make_spec(SITES, SWEPT)
    shop.extract(source, spec)
    assert windows(shop) == [(None, True, 20)], "the first extract is whole, whatever the source's `since`"
    assert portal.asked == 6

    shop.now += timedelta(hours=1)
    portal.asked = 0
    portal.write("a", 10, -0.5)
    del portal.shown["b"][3]
    shop.extract(source, spec)
    assert windows(shop)[1:] == [("2025-03-10T11:55:00.000Z", False, 1)]
    assert portal.asked == 2

    shop.now += timedelta(days=1)
    portal.write("b", 10, -20)
    shop.extract(source, spec)
    assert windows(shop)[2:] == [("2025-03-10T12:55:00.000Z", False, 1), (None, True, 21)]

    shop.now += timedelta(hours=1)
    portal.write("a", 11, -25.5)
    shop.extract(source, spec)
    assert windows(shop)[4:] == [("2025-03-11T12:55:00.000Z", False, 1)], "a sweep moves no position"


def test_a_site_that_stops_the_sweep_does_not_stop_the_news_of_others(shop: Shop, vendor: HTTPServer) -> None:
    portal = Reviews(vendor, "a", "b")
    portal.write("a", 0, 10)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(SITES, SWEPT)
    shop.extract(source, spec)
    shop.now += timedelta(days=1)
    portal.write("a", 1, -1)
    portal.refused = "b"
    assert [result.outcome for result in shop.extract(source, spec, streams=frozenset({"sales"}))] == ["failed"]
    assert [complete for _, complete, _ in windows(shop)] == [True, False]
    portal.refused = ""
    shop.now += timedelta(minutes=1)
    shop.extract(source, spec)
    assert [complete for _, complete, _ in windows(shop)] == [True, False, True], "and it is still due"


@pytest.mark.parametrize("change", [{"cursor": None}, {"deletes": "complete_window", "window_field": "changed"}])
def test_only_a_stream_of_changes_can_be_swept(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="sweep needs"):
        make_spec(SITES, SWEPT | {"newest_first": False} | change)


def test_a_vendor_is_asked_in_its_hours_only(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    hours = {"from": "23:00", "to": "05:00", "time_zone": "America/New_York"}
    spec = make_spec(ITEMS, allowed_hours=hours)
    source = shop.source(base_url=vendor.url_for(""))
    assert [result.outcome for result in shop.extract(source, spec)] == ["not_due"]  # eight in the morning there
    (forced,) = shop.extract(source, spec, force=True)
    assert forced.error is not None and "2025-03-11 03:00 UTC" in str(forced.error)
    shop.now += timedelta(hours=15, minutes=30)
    assert [result.outcome for result in shop.extract(source, spec)] == ["block"]


def test_a_vendor_that_closes_meanwhile_is_gone_on_with_when_it_opens(shop: Shop, vendor: HTTPServer) -> None:
    asked: list[str] = []

    def sales(request: Request) -> Response:
        asked.append(request.args["from"])
        shop.now += timedelta(minutes=50)
        return answer({"data": [{"id": len(asked), "changed": request.args["from"]}]})

    vendor.expect_request("/sales").respond_with_handler(sales)
    spec = make_spec(
        SALES | {"cursor": {"max_window": "3d", "initial": "10d", "lag": "0s"}},
        allowed_hours={"from": "12:00", "to": "13:00"},
    )
    source = shop.source(base_url=vendor.url_for(""))
    (result,) = shop.extract(source, spec)
    assert len(result.blocks) == 2 and len(asked) == 2
    shop.now = NOW + timedelta(days=1)
    shop.extract(source, spec)
    assert [start[:10] for start in asked] == ["2025-02-28", "2025-03-03", "2025-03-06", "2025-03-09"]


def test_what_the_vendor_no_longer_serves_is_not_asked_for(shop: Shop, vendor: HTTPServer) -> None:
    seen: list[str] = []

    def sales(request: Request) -> Response:
        seen.append(request.args["from"])
        return answer({"data": []})

    vendor.expect_request("/sales").respond_with_handler(sales)
    spec = make_spec(SALES | {"cursor": {"initial": "730d", "max_age": "90d"}})
    shop.extract(shop.source(base_url=vendor.url_for(""), since="2020-01-01"), spec)
    assert seen == ["2024-12-10T12:00:00.000Z"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"newest_first": True, "ascending": False, "modified": None}, "newest_first needs `modified`"),
        (
            {"newest_first": True, "ascending": False, "paging": {"type": "offset", "size": 5}},
            "newest_first needs pages that are read forwards",
        ),
        ({"paging": {"type": "offset", "size": 5, "in": "body"}}, "needs method: POST"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make_spec(SALES | changes)


@pytest.mark.parametrize(("config", "sent"), [({"manager": "77"}, "77"), ({}, None)])
def test_a_header_holds_a_setting_and_is_left_out_without_it(
    shop: Shop, vendor: HTTPServer, config: dict[str, str], sent: str | None
) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    spec = make_spec(
        ITEMS,
        headers={"Login-Customer-Id": "{config.manager}", "Api-Version": "3"},
        config={"manager": {"about": "The manager", "required": False}},
    )
    assert [r.outcome for r in shop.extract(shop.source(base_url=vendor.url_for(""), **config), spec)] == ["block"]
    asked = [request for request, _ in vendor.log]
    assert [(r.headers.get("Login-Customer-Id"), r.headers.get("Api-Version")) for r in asked] == [(sent, "3")]


def test_a_day_written_with_a_wall_clock_is_that_day() -> None:
    day = parse_time("2024-03-09", "date")
    assert day.isoformat() == "2024-03-09T00:00:00+00:00"
    assert parse_time("2024-03-09 00:00:00", "date") == parse_time("2024-03-09T23:59:59", "date") == day
    for other in ("2024-03-09T00:00:00Z", "2024-3-9", ""):
        with pytest.raises(ValueError):
            parse_time(other, "date")
