"""What a vendor can do wrong, and what a person reads then: cause, whose turn it is, the next command."""

import json
import socket
import threading
from dataclasses import replace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ingestion.errors import LarderError
from ingestion.extract import Options, extract_all, worst
from ingestion.index import connect, lock_stream
from ingestion.registry import load_spec
from ingestion.run import StreamResult
from tests.faults.record import Figure
from tests.ingestion.conftest import ITEMS, SALES, Shop, make_spec

GOOD = {"data": [{"id": 1}]}


def failure(results: list[StreamResult]) -> LarderError:
    error = worst(results)
    assert error is not None
    return error


def last_log(shop: Shop) -> tuple[Any, ...]:
    return shop.rows("select outcome, error_class, message from control.extraction_log order by id desc limit 1")[0]


@pytest.mark.fault(13)
def test_unreachable_vendor(shop: Shop) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    error = failure(shop.extract(shop.source(base_url=f"http://127.0.0.1:{port}"), make_spec(ITEMS)))
    assert error.cause.startswith(f"Acme at http://127.0.0.1:{port} cannot be reached:")
    assert "gave up after" in error.cause
    assert (error.turn, error.next_command) == ("vendor", "larder extract --source cafe/s1")
    assert last_log(shop)[:2] == ("failed", "vendor")


def test_refused_credentials_stop_the_source_at_once(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_data("bad token s3cret/+", status=401)
    results = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS, SALES))
    error = failure(results)
    assert error.cause == "Acme refuses the credentials of cafe/s1 (HTTP 401): bad token …"
    assert (error.turn, error.next_command) == ("credentials", "larder source check cafe/s1")
    assert len(results) == 1 and len(vendor.log) == 1


@pytest.mark.fault(12)
def test_throttling_without_end(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_data("slow down", status=429, headers={"Retry-After": "3600"})
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)))
    assert error.cause.startswith("Acme throttles cafe/s1: slow down; gave up after 1 tries")
    assert "asks for 360" in error.cause and error.turn == "vendor"
    assert shop.rows("select count(*) from control.cursors") == [(0,)]


@pytest.mark.fault(12)
def test_throttling_that_ends_is_waited_for(shop: Shop, vendor: HTTPServer) -> None:
    answers = iter([Response("", 429, {"Retry-After": "1"}), Response("", 503), Response(json.dumps(GOOD))])
    vendor.expect_request("/items").respond_with_handler(lambda _: next(answers))
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS), patience=10.0)
    assert (result.outcome, result.requests, result.retries) == ("block", 3, 2)
    assert shop.manifests()[0].http.statuses == {"429": 1, "503": 1, "200": 1}
    assert result.seconds >= 1


@pytest.mark.fault(12)
def test_throttling_with_status_200_or_400_is_known_by_its_sign(shop: Shop, vendor: HTTPServer) -> None:
    answers = iter([Response('{"code":40100}'), Response('{"code":"17"}', 400), Response(json.dumps(GOOD))])
    vendor.expect_request("/items").respond_with_handler(lambda _: next(answers))
    signs = [{"path": "code", "values": ["40100", "17"], "means": "throttled"}]
    (result,) = shop.extract(
        shop.source(base_url=vendor.url_for("")), make_spec(ITEMS, error_signs=signs), patience=20.0
    )
    assert (result.outcome, result.retries) == ("block", 2)


def test_a_code_other_than_the_good_one_is_an_error_with_status_200(shop: Shop, vendor: HTTPServer) -> None:
    answers = iter([Response('{"code":50000,"data":[]}'), Response(json.dumps({"code": 0, "data": [{"id": 1}]}))])
    vendor.expect_request("/items").respond_with_handler(lambda _: next(answers))
    signs = [{"path": "code", "other_than": ["0"], "means": "vendor"}]
    (result,) = shop.extract(
        shop.source(base_url=vendor.url_for("")), make_spec(ITEMS, error_signs=signs), patience=20.0
    )
    assert (result.outcome, result.retries, result.records) == ("block", 1, 1)


@pytest.mark.fault(17)
@pytest.mark.parametrize("body", ["{'data': []}", '{"data":[{"id":1}', "<html>maintenance</html>", ""])
def test_malformed_json(shop: Shop, vendor: HTTPServer, body: str) -> None:
    vendor.expect_request("/items").respond_with_data(body)
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)))
    assert "/items answered with something that cannot be read" in error.cause
    assert (error.turn, error.next_command) == ("vendor", "larder extract --source cafe/s1")
    assert shop.files() == []


def test_another_envelope_is_not_an_empty_page(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"message": "be right back"})
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)))
    assert "it has no 'data', where the records should be" in error.cause and error.turn == "vendor"


@pytest.mark.fault(17)
def test_truncated_page(shop: Shop) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"data":[{"id":1},')

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        error = failure(shop.extract(shop.source(base_url=url), make_spec(ITEMS)))
    finally:
        listener.close()
    assert error.cause.startswith(f"Acme at {url} broke off its answer:") and error.turn == "vendor"
    assert shop.files() == []


@pytest.mark.fault(13)
def test_a_page_lost_half_way_leaves_no_block_and_no_cursor(shop: Shop, vendor: HTTPServer) -> None:
    answers = iter([Response('{"data":[{"id":1}],"next":"p2"}')] + [Response('{"data":[{"id"')] * 99)
    vendor.expect_request("/items").respond_with_handler(lambda _: next(answers))
    spec = make_spec(ITEMS | {"paging": {"type": "cursor_query", "cursor": "next"}})
    failure(shop.extract(shop.source(base_url=vendor.url_for("")), spec))
    assert (
        shop.files() == []
        and shop.rows("select 1 from control.cursors union select 1 from control.block_intents") == []
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"shop_ids": "A"}, "the setting 'shop_ids' must be a list"),
        ({}, "the setting 'shop_ids' is missing (Shops)"),
        ({"shop_ids": ["A"], "colour": 1}, "Acme has no setting 'colour'; known: base_url, "),
        ({"shop_ids": ["A"], "base_url": "acme"}, "base_url 'acme' is not a web address"),
        ({"shop_ids": ["A"], "since": "soon"}, "since 'soon' is not an ISO date"),
    ],
)
def test_wrong_config(shop: Shop, config: dict[str, Any], said: str) -> None:
    spec = make_spec(ITEMS, config={"shop_ids": {"about": "Shops", "is_list": True}})
    error = failure(shop.extract(shop.source(**config), spec))
    assert error.cause.startswith("source cafe/s1: ") and said in error.cause
    assert (error.turn, error.next_command) == ("config", "larder source check cafe/s1")


def test_a_missing_secret_is_the_credentials_turn(shop: Shop) -> None:
    error = failure(shop.extract(replace(shop.source(), secret={}), make_spec(ITEMS)))
    assert error.cause == "source cafe/s1: the secret 'access_token' is missing"
    assert (error.turn, error.next_command) == ("credentials", "larder source check cafe/s1")


@pytest.mark.parametrize(
    "secret", [{"access_token": "right"}, {"token": "right"}, {"access_token": "right", "token": "x"}]
)
def test_a_single_secret_may_be_named_or_bare(shop: Shop, vendor: HTTPServer, secret: dict[str, str]) -> None:
    vendor.expect_request("/items", headers={"Authorization": "Bearer right"}).respond_with_json(GOOD)
    source = replace(shop.source(base_url=vendor.url_for("")), secret=secret)
    assert shop.extract(source, make_spec(ITEMS))[0].outcome == "block"


def test_a_request_that_the_vendor_never_accepts_is_a_wrong_config(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"error": "no such shop"}, status=404)
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS)))
    assert error.turn == "config" and "(HTTP 404)" in error.cause and "no such shop" in error.cause


def test_the_failure_of_one_source_or_stream_stops_no_other(shop: Shop, vendor: HTTPServer, monkeypatch: Any) -> None:
    vendor.expect_request("/items").respond_with_json(GOOD)
    vendor.expect_request("/sales").respond_with_data("oops", status=500)
    spec = make_spec(SALES, ITEMS)
    monkeypatch.setattr("ingestion.extract.spec_of", lambda *_: spec)
    sources = [shop.source(1, base_url="http://127.0.0.1:9"), shop.source(2, base_url=vendor.url_for(""))]
    results = extract_all(sources, shop.store, shop.dsn, shop.clock, Options(patience=1.0))
    assert [(r.source.name, r.stream, r.outcome) for r in results] == [
        ("s1", "sales", "failed"),
        ("s1", "items", "failed"),
        ("s2", "sales", "failed"),
        ("s2", "items", "block"),
    ]


@pytest.mark.fault(14)
def test_pages_that_never_end(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [{"id": 1}], "next": "same"})
    spec = make_spec(ITEMS | {"paging": {"type": "cursor_query", "cursor": "next"}})
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), spec))
    assert "leads back to a page that was already read" in error.cause and error.turn == "vendor"


def test_a_next_page_on_another_host_gets_no_credentials(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json({"data": [], "next": "http://evil.example/items"})
    spec = make_spec(ITEMS | {"paging": {"type": "next_url", "next": "next"}})
    error = failure(shop.extract(shop.source(base_url=vendor.url_for("")), spec))
    assert "another host for the next page: evil.example" in error.cause


@pytest.mark.fault(15)
def test_an_expired_page_cursor_restarts_the_window(shop: Shop, vendor: HTTPServer, figure: Figure) -> None:
    pages = iter(
        [
            Response('{"data":[{"id":1}],"next":"a"}'),
            Response('{"code":"EXPIRED"}', 400),
            Response('{"data":[{"id":1}],"next":"b"}'),
            Response('{"data":[{"id":2}]}'),
        ]
    )
    vendor.expect_request("/items").respond_with_handler(lambda _: next(pages))
    spec = make_spec(
        ITEMS | {"paging": {"type": "cursor_query", "cursor": "next"}},
        error_signs=[{"status": 400, "path": "code", "values": ["EXPIRED"], "means": "cursor_expired"}],
    )
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), spec)
    assert result.records == 2 and shop.records() == [b'{"id":1}', b'{"id":2}'] and len(shop.files()) == 2
    figure("records", result.records)


@pytest.mark.fault(16)
def test_a_login_is_renewed_when_its_token_is_refused(shop: Shop, vendor: HTTPServer, figure: Figure) -> None:
    tokens = iter(["old", "new"])
    vendor.expect_request("/login", json={"key": "s3cret/+", "kind": "machine"}).respond_with_handler(
        lambda _: Response(json.dumps({"token": {"value": next(tokens), "seconds": 600}}))
    )

    def items(request: Request) -> Response:
        return Response(json.dumps(GOOD)) if request.headers["Authorization"] == "Bearer new" else Response("", 401)

    vendor.expect_request("/items").respond_with_handler(items)
    auth = {"type": "login", "path": "/login", "secrets": {"key": "token"}, "fields": {"kind": "machine"}}
    auth |= {"token": "token.value", "expires_in": "token.seconds"}
    (result,) = shop.extract(shop.source(base_url=vendor.url_for("")), make_spec(ITEMS, auth=auth))
    assert result.outcome == "block" and next(tokens, None) is None
    figure("tokens refused", 1)


@pytest.mark.fault(30)
def test_no_secret_in_blocks_logs_or_errors(shop: Shop, vendor: HTTPServer) -> None:
    first = {"data": [{"id": 1}], "next": vendor.url_for("/more?access_token=s3cret%2F%2B&after=1")}
    vendor.expect_request("/items").respond_with_json(first)
    vendor.expect_request("/more").respond_with_data("no", status=500)
    auth = {"type": "query_token"}
    spec = make_spec(ITEMS | {"paging": {"type": "next_url", "next": "next"}}, auth=auth | {"secret": "token"})
    source = shop.source(base_url=vendor.url_for(""))
    error = failure(shop.extract(source, spec))
    assert "after=1" in error.cause
    vendor.clear()
    vendor.expect_request("/items").respond_with_json(GOOD)
    shop.extract(source, spec)
    everything = str(error) + repr(source) + str(shop.rows("select manifest from control.blocks"))
    everything += str(shop.rows("select message from control.extraction_log"))
    assert "s3cret" not in everything


@pytest.mark.fault(15)
def test_a_record_changed_while_numbered_pages_are_read_is_not_lost(
    shop: Shop, vendor: HTTPServer, figure: Figure
) -> None:
    sales = [f"a{number}" for number in range(10)]
    asked: list[int] = []

    def answer(request: Request) -> Response:
        number = int(request.args["page"])
        asked.append(number)
        page = sales[(number - 1) * 3 : number * 3]
        if len(asked) == 6:
            sales.remove("a1")  # changed: it leaves the window, the later ones move up
        return Response(json.dumps([{"id": sale, "changed": "2025-03-10T10:00:00Z"} for sale in page]))

    vendor.expect_request("/sales").respond_with_handler(answer)
    spec = make_spec(SALES | {"records": "", "ascending": False, "paging": {"type": "page_number", "size": 3}})
    shop.extract(shop.source(base_url=vendor.url_for("")), spec)
    found = [json.loads(record)["id"] for record in shop.records()]
    assert asked[-3:] == [3, 2, 1] and set(found) >= {f"a{number}" for number in range(10)} - {"a1"}
    assert len(found) == len(set(found))
    figure("pages", len(asked))
    figure("records", len(found))


@pytest.mark.fault(10)
def test_a_busy_stream_is_left_alone(shop: Shop, vendor: HTTPServer, figure: Figure) -> None:
    source, other = shop.source(base_url=vendor.url_for("")), connect(shop.dsn)
    assert lock_stream(other, source.source_id, "items")
    outcomes = [result.outcome for result in shop.extract(source, make_spec(ITEMS))]
    other.close()
    assert outcomes == ["busy"]
    figure("extracts refused", len(outcomes))


@pytest.mark.fault(10)
def test_the_lock_of_an_extract_that_just_died_is_waited_for(shop: Shop, vendor: HTTPServer) -> None:
    vendor.expect_request("/items").respond_with_json(GOOD)
    source, dead = shop.source(base_url=vendor.url_for("")), connect(shop.dsn)
    assert lock_stream(dead, source.source_id, "items")
    threading.Timer(0.3, dead.close).start()
    assert [result.outcome for result in shop.extract(source, make_spec(ITEMS))] == ["block"]


def test_a_spec_error_names_file_line_and_field(tmp_path: Any) -> None:
    text = (
        "name: acme\ntitle: Acme\nkind: pos\ndocs: x\nbase_url: x\nauth: {type: bearer}\n"
        "rate_limit: {requests: 1}\nmoney: decimal\ntime_zone: utc\nstreams:\n"
        "  - name: items\n    about: Items\n    path: /items\n    records: data\n    natural_key: id\n"
        "    cadence: soon\n"
    )
    path = tmp_path / "acme" / "integration.yml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LarderError) as error:
        load_spec(path)
    assert f"{path}:16: streams.0.cadence: Value error, 'soon' is not a duration" in error.value.cause
    assert error.value.turn == "config"
