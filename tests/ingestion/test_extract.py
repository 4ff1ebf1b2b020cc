"""Windows, cursors and blocks against a vendor over real HTTP and a real control database."""

import json
from datetime import datetime, timedelta
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ingestion.reindex import rebuild_index
from tests.ingestion.conftest import ITEMS, NOW, SALES, Shop, make_spec


class Till:
    """Serves sales sorted by change, with opaque cursors, as real vendors do."""

    def __init__(self, vendor: HTTPServer, size: int = 3) -> None:
        self.sales: dict[str, dict[str, Any]] = {}
        self.size = size
        self.asked: list[dict[str, str]] = []
        vendor.expect_request("/sales").respond_with_handler(self._answer)

    def sell(self, key: str, minutes_ago: float, **more: Any) -> None:
        changed = (NOW - timedelta(minutes=minutes_ago)).isoformat()
        self.sales[key] = {"id": key, "changed": changed, **more}

    def _answer(self, request: Request) -> Response:
        self.asked.append(dict(request.args))
        low, high = (datetime.fromisoformat(request.args[end]) for end in ("from", "to"))
        found = sorted(
            (sale for sale in self.sales.values() if low <= datetime.fromisoformat(sale["changed"]) <= high),
            key=lambda sale: (sale["changed"], sale["id"]),
        )
        at = int(request.args.get("cursor", 0))
        body: dict[str, Any] = {"data": found[at : at + self.size]}
        if at + self.size < len(found):
            body["next"] = str(at + self.size)
        return Response(json.dumps(body, indent=1), mimetype="application/json")


def ids(shop: Shop) -> list[str]:
    return [json.loads(record)["id"] for record in shop.records()]


def test_a_window_becomes_one_block_with_evidence_and_a_cursor(shop: Shop, vendor: HTTPServer) -> None:
    till = Till(vendor)
    for number in range(8):
        till.sell(f"a{number}", 600 - number)
    source = shop.source(base_url=vendor.url_for(""))
    (result,) = shop.extract(source, make_spec(SALES))
    assert (result.outcome, result.records, result.requests) == ("block", 8, 3)
    (manifest,) = shop.manifests()
    assert manifest.block_id == result.blocks[0]
    assert (manifest.window.start, manifest.window.end) == ("2025-02-28T12:00:00.000Z", "2025-03-10T12:00:00.000Z")
    assert manifest.http.requests == 3 and manifest.http.statuses == {"200": 3}
    assert "cursor=6" in manifest.http.last_url and manifest.observed_at == NOW
    assert manifest.cursor_before is None
    assert manifest.cursor_after == {"value": (NOW - timedelta(minutes=5)).isoformat()}
    assert shop.rows("select cursor, due_at, block_id from control.cursors") == [
        (manifest.cursor_after, NOW + timedelta(minutes=10), str(manifest.block_id))
    ]
    assert ids(shop) == [f"a{number}" for number in range(8)]
    assert all(b"\n" not in record for record in shop.records())


def test_what_is_not_due_is_not_asked(shop: Shop, vendor: HTTPServer) -> None:
    till = Till(vendor)
    till.sell("a", 60)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(SALES)
    shop.extract(source, spec)
    assert [result.outcome for result in shop.extract(source, spec)] == ["not_due"]
    shop.now += timedelta(minutes=10)
    assert [result.outcome for result in shop.extract(source, spec)] == ["empty"]
    assert len(till.asked) == 2


def test_an_empty_window_moves_the_cursor_and_makes_no_block(shop: Shop, vendor: HTTPServer) -> None:
    Till(vendor)
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(SALES))
    assert result.outcome == "empty" and shop.files() == []
    assert shop.rows("select cursor->>'value', block_id from control.cursors") == [
        ((NOW - timedelta(minutes=5)).isoformat(), None)
    ]
    assert shop.rows("select outcome, window_to, requests from control.extraction_log") == [
        ("empty", "2025-03-10T12:00:00.000Z", 1)
    ]


def test_the_overlap_finds_late_records_and_repeats_none(shop: Shop, vendor: HTTPServer) -> None:
    till = Till(vendor)
    till.sell("early", 60)
    till.sell("recent", 2)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(SALES)
    shop.extract(source, spec)
    till.sell("late", 4)  # indexed by the vendor only now
    till.sell("recent", -3, note="changed")
    shop.now += timedelta(minutes=10)
    shop.extract(source, spec)
    assert ids(shop) == ["early", "recent", "late", "recent"]
    assert [result.outcome for result in shop.extract(source, spec, force=True)] == ["empty"]


def test_a_long_sorted_window_is_cut_where_it_can_be_resumed(shop: Shop, vendor: HTTPServer) -> None:
    till = Till(vendor)
    for number in range(10):
        till.sell(f"a{number}", 600 - number // 2)  # pairs share an instant
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(SALES), max_records=3)
    first, *_, last = shop.manifests()
    assert len(result.blocks) == 4 and ids(shop) == [f"a{number}" for number in range(10)]
    assert first.window.end == "2025-03-10T02:01:00.000Z"
    assert first.cursor_after["value"] == "2025-03-10T02:01:00+00:00" and len(first.cursor_after["seen"]) == 1
    assert last.window.end == "2025-03-10T12:00:00.000Z"


def test_numbers_keep_their_bytes(shop: Shop, vendor: HTTPServer) -> None:
    record = b'{"id":1,"price":10.10,"big":12345678901234567890123.4500,"e":1E2,"text":"\\u00e9\\n"}'
    vendor.expect_request("/items").respond_with_data(b'{"data":[\n' + record + b"\n]}")
    shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS))
    assert shop.records() == [record]


def test_an_unchanged_snapshot_makes_no_second_block(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)
    assert shop.extract(source, spec)[0].outcome == "block"
    shop.now += timedelta(days=1)
    assert shop.extract(source, spec)[0].outcome == "empty"
    assert [manifest.window.complete for manifest in shop.manifests()] == [True]


def test_an_empty_snapshot_is_not_the_deletion_of_everything(shop: Shop, vendor: HTTPServer) -> None:
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}]})
    shop.extract(source, spec)
    vendor.clear()
    vendor.expect_request("/items").respond_with_json({"data": []})
    assert shop.extract(source, spec, force=True)[0].outcome == "empty"
    assert "not taken for the deletion" in shop.rows("select message from control.extraction_log order by id")[-1][0]


def test_trailing_days_are_read_again_and_an_emptied_window_is_news(shop: Shop, vendor: HTTPServer) -> None:
    spend = {
        "name": "spend",
        "about": "Spend",
        "path": "/spend",
        "params": {"range": '{"since":"{from}","until":"{to}"}'},
        "records": "data",
        "natural_key": ["campaign", "day"],
        "cursor": {"format": "date", "lag": "1d", "initial": "60d", "max_window": "40d", "restatement": "28d"},
        "deletes": "complete_window",
        "window_field": "day",
    }
    asked: list[str] = []
    rows = [{"campaign": 1, "day": "2025-03-09"}]

    def answer(request: Request) -> Response:
        asked.append(request.args["range"])
        return Response(json.dumps({"data": rows}), mimetype="application/json")

    vendor.expect_request("/spend").respond_with_handler(answer)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(spend)
    shop.extract(source, spec)
    assert asked == ['{"since":"2025-01-09","until":"2025-02-17"}', '{"since":"2025-02-18","until":"2025-03-10"}']
    rows.clear()
    shop.now += timedelta(days=1)
    shop.extract(source, spec)
    assert asked[2:] == ['{"since":"2025-02-11","until":"2025-03-11"}']
    last = shop.manifests()[-1]
    assert last.records == 0 and last.window.complete and last.window.start == "2025-02-11"
    assert list(shop.store.read(last)) == []


def test_sites_have_their_own_positions_and_a_new_site_starts_at_the_beginning(shop: Shop, vendor: HTTPServer) -> None:
    shops = {**ITEMS, "name": "shops", "path": "/shops"}
    sales = SALES | {"sites": {"stream": "shops", "field": "id", "batch": 2}, "params": {}}
    sales |= {"method": "POST", "body": {"sites": "{sites}", "from": "{from}"}, "cadence": "1m"}
    asked: list[tuple[list[str], str]] = []
    sites = ["A", "B", "C"]

    def answer(request: Request) -> Response:
        body = request.get_json()
        asked.append((body["sites"], body["from"][:10]))
        return Response('{"data":[]}', mimetype="application/json")

    vendor.expect_request("/shops").respond_with_handler(
        lambda _: Response(json.dumps({"data": [{"id": site} for site in sites]}))
    )
    vendor.expect_request("/sales", method="POST").respond_with_handler(answer)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(shops, sales)
    shop.extract(source, spec)
    assert asked == [(["A", "B"], "2025-02-28"), (["C"], "2025-02-28")]
    asked.clear()
    sites.append("D")
    shop.now += timedelta(minutes=2)  # sales are due, shops are not: they are asked for again, without a block
    shop.extract(source, spec)
    assert asked == [(["A", "B"], "2025-03-10"), (["C"], "2025-03-10"), (["D"], "2025-02-28")]


def test_children_are_asked_for_parent_by_parent_and_say_whose_they_are(shop: Shop, vendor: HTTPServer) -> None:
    people = {**ITEMS, "name": "people", "path": "/people"}
    wages = {**ITEMS, "name": "wages", "path": "/people/{parent}/wages", "records": ["now", "later"]}
    wages |= {"parent": {"stream": "people", "field": "id"}, "context": {"person": "{parent}"}}
    vendor.expect_request("/people").respond_with_json({"data": [{"id": 1}, {"id": 2}]})
    vendor.expect_request("/people/1/wages").respond_with_data('{"now":[{"id":11}],"later":[{}]}')
    vendor.expect_request("/people/2/wages").respond_with_data('{"now":null,"later":[{ "id": 22 }]}')
    shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(people, wages))
    assert shop.records()[2:] == [
        b'{"_context":{"person": "1"},"id":11}',
        b'{"_context":{"person": "1"}}',
        b'{"_context":{"person": "2"},"id": 22 }',
    ]


def test_the_index_is_rebuilt_from_the_manifests(shop: Shop, vendor: HTTPServer) -> None:
    till = Till(vendor)
    for number in range(10):
        till.sell(f"a{number}", 600 - number)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(SALES)
    shop.extract(source, spec, max_records=3)
    query = (
        "select block_id, source_id, stream, path, manifest, observed_at, records, bytes from control.blocks order by 1"
    )
    before, cursor = shop.rows(query), shop.rows("select cursor from control.cursors")
    assert len(before) > 1
    shop.rows("delete from control.blocks")
    shop.rows("delete from control.cursors")
    assert rebuild_index(shop.dsn, shop.store) == len(before)
    assert shop.rows(query) == before and shop.rows("select cursor from control.cursors") == cursor
    assert rebuild_index(shop.dsn, shop.store) == 0
    assert shop.extract(source, spec)[0].outcome == "empty"
