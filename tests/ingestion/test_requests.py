"""What each integration really asks its vendor: paths, filters, headers, bodies, in the vendor's own spelling."""

import json
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer

from ingestion.extract import Options, StreamResult, extract_source
from ingestion.registry import get
from ingestion.source import SourceRef
from tests.ingestion.conftest import Shop

FIXTURES = Path(__file__).parents[1] / "fixtures"
SINCE = {"since": "2025-03-01"}


def extract(shop: Shop, integration: str, config: dict[str, Any], **secret: str) -> dict[str, StreamResult]:
    base = shop.source(1, integration)
    source = SourceRef(base.source_id, base.business, "cafe", integration, "s1", config, secret)
    results = extract_source(source, get(integration), shop.store, shop.dsn, shop.clock, Options(patience=1.0))
    assert [result.error for result in results if result.error] == []
    return {result.stream: result for result in results}


def asked(vendor: HTTPServer, path: str) -> list[dict[str, str]]:
    return [dict(request.args) for request, _ in vendor.log if request.path == path]


def test_square(shop: Shop, vendor: HTTPServer) -> None:
    headers = {"Authorization": "Bearer t0ken", "Square-Version": "2025-01-23"}
    locations = [{"id": f"L{number:02d}", "currency": "USD"} for number in range(12)]
    vendor.expect_request("/v2/locations", headers=headers).respond_with_json({"locations": locations})
    for path in ("/v2/catalog/list", "/v2/payments", "/v2/refunds"):
        vendor.expect_request(path, headers=headers).respond_with_json({})
    labor = headers | {"Square-Version": "2025-05-21"}
    for path in ("/v2/team-members/search", "/v2/labor/timecards/search"):
        vendor.expect_request(path, method="POST", headers=labor).respond_with_json({})
    orders = {"orders": [{"id": "O1", "updated_at": "2025-03-09T10:00:00.000Z"}]}
    vendor.expect_request("/v2/orders/search", method="POST", headers=headers).respond_with_json(orders)
    results = extract(shop, "square", {"base_url": vendor.url_for(""), **SINCE}, token="t0ken")
    assert {name: result.outcome for name, result in results.items()} == {
        "locations": "block",
        "catalog": "empty",
        "orders": "block",
        "payments": "empty",
        "refunds": "empty",
        "team_members": "empty",
        "timecards": "empty",
    }
    bodies = [request.get_json() for request, _ in vendor.log if request.path == "/v2/orders/search"]
    assert [len(body["location_ids"]) for body in bodies] == [10, 2]
    assert bodies[0]["query"] == {
        "filter": {
            "date_time_filter": {
                "updated_at": {"start_at": "2025-03-01T00:00:00.000Z", "end_at": "2025-03-10T12:00:00.000Z"}
            }
        },
        "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
    }
    payments = asked(vendor, "/v2/payments")
    assert [page["location_id"] for page in payments] == [location["id"] for location in locations]
    assert payments[0]["sort_field"] == "UPDATED_AT" and payments[0]["limit"] == "100"
    assert len(asked(vendor, "/v2/locations")) == 1


def test_toast(shop: Shop, vendor: HTTPServer) -> None:
    login = {"clientId": "me", "clientSecret": "s3cret", "userAccessType": "TOAST_MACHINE_CLIENT"}
    vendor.expect_request("/authentication/v1/authentication/login", method="POST", json=login).respond_with_json(
        {"status": "SUCCESS", "token": {"tokenType": "Bearer", "accessToken": "t0ken", "expiresIn": 86400}}
    )
    for site in ("r1", "r2"):
        headers = {"Toast-Restaurant-External-ID": site, "Authorization": "Bearer t0ken"}
        vendor.expect_request(f"/restaurants/v1/restaurants/{site}", headers=headers).respond_with_json({"guid": site})
        vendor.expect_request("/config/v2/menuItems", headers=headers).respond_with_json([{"guid": "m"}])
        vendor.expect_request("/labor/v1/employees", headers=headers).respond_with_json([{"guid": f"e-{site}"}])
        order = json.dumps([{"guid": f"o-{site}", "modifiedDate": "2025-03-09T16:36:29.420+0000"}])
        vendor.expect_request("/orders/v2/ordersBulk", headers=headers).respond_with_data(order)
    config = {"base_url": vendor.url_for(""), "restaurant_guids": ["r1", "r2"], **SINCE}
    results = extract(shop, "toast", config, client_id="me", client_secret="s3cret")
    assert {name: (result.records, len(result.blocks)) for name, result in results.items()} == {
        "restaurants": (2, 1),  # a complete snapshot covers all sites
        "menu_items": (2, 1),
        "employees": (2, 1),
        "orders": (2, 2),  # each site has its own position
    }
    first, second = asked(vendor, "/orders/v2/ordersBulk")
    assert (
        first
        == second
        == {
            "startDate": "2025-03-01T00:00:00.000+0000",
            "endDate": "2025-03-10T12:00:00.000+0000",
            "pageSize": "100",
            "page": "1",
        }
    )
    orders = [json.loads(record) for record in shop.records()][-2:]
    assert [(order["_context"]["restaurant"], order["guid"]) for order in orders] == [("r1", "o-r1"), ("r2", "o-r2")]
    assert len([1 for request, _ in vendor.log if "login" in request.path]) == 1


def test_sevenshifts(shop: Shop, vendor: HTTPServer) -> None:
    recorded = {path.stem: path.read_text() for path in (FIXTURES / "sevenshifts").glob("*.json")}
    headers = {"Authorization": "Bearer t0ken", "x-api-version": "2025-03-01"}
    for stream in ("locations", "users", "time_punches"):
        vendor.expect_request(f"/v2/company/52418/{stream}", headers=headers).respond_with_data(
            json.dumps(json.loads(recorded[stream]) | {"meta": {"cursor": {"next": None}}})
        )
    wages = json.loads(recorded["wages"])
    for user in json.loads(recorded["users"])["data"]:
        none: dict[str, Any] = {"data": {"current_wages": [], "upcoming_wages": []}}
        page = wages.get(str(user["id"]), none)
        vendor.expect_request(f"/v2/company/52418/users/{user['id']}/wages", headers=headers).respond_with_json(page)
    config = {"base_url": vendor.url_for(""), "company_id": 52418, **SINCE}
    results = extract(shop, "sevenshifts", config, token="t0ken")
    assert {result.outcome for result in results.values()} == {"block"}
    assert asked(vendor, "/v2/company/52418/time_punches") == [{"modified_since": "2025-03-01", "limit": "500"}]


def test_meta_ads(shop: Shop, vendor: HTTPServer) -> None:
    recorded = {path.stem: json.loads(path.read_text()) for path in (FIXTURES / "meta_ads").glob("*.json")}
    vendor.expect_request("/v21.0/act_77").respond_with_json(recorded["accounts"])
    for stream in ("campaigns", "insights"):
        page = recorded[stream] | {"paging": {}}
        vendor.expect_request(f"/v21.0/act_77/{stream}").respond_with_json(page)
    config = {"base_url": vendor.url_for(""), "account_id": "77", **SINCE}
    results = extract(shop, "meta_ads", config, token="t0ken")
    assert {result.outcome for result in results.values()} == {"block"}
    (insights,) = asked(vendor, "/v21.0/act_77/insights")
    assert json.loads(insights["time_range"]) == {"since": "2025-02-10", "until": "2025-03-10"}
    assert (insights["access_token"], insights["level"], insights["time_increment"]) == ("t0ken", "campaign", "1")
    assert all("t0ken" not in manifest.model_dump_json() for manifest in shop.manifests())
