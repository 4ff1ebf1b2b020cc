"""Whatever the till does and whenever it is read: every state that lasted is extracted, none twice."""

import json
import random
from datetime import datetime, timedelta

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.faults.record import Figure
from tests.ingestion.conftest import NOW, SALES, Shop, make_spec


class SlowTill:
    """A till whose records can be asked for up to four minutes after they were changed; the stream's lag is five."""

    def __init__(self, vendor: HTTPServer, shop: Shop) -> None:
        self.shop = shop
        self.sales: dict[str, tuple[datetime, bytes]] = {}  # visible from, record
        vendor.expect_request("/sales").respond_with_handler(self._answer)

    def change(self, key: str, chance: random.Random) -> None:
        changed = self.shop.now.replace(microsecond=chance.randrange(1000) * 1000)
        record = {"id": key, "changed": changed.isoformat(), "total": chance.randrange(10_000)}
        delay = timedelta(seconds=chance.choice([0, 0, 30, 240]))
        self.sales[key] = (changed + delay, json.dumps(record).encode())

    def _answer(self, request: Request) -> Response:
        low, high = (datetime.fromisoformat(request.args[end]) for end in ("from", "to"))
        found = []
        for visible, record in self.sales.values():
            changed = datetime.fromisoformat(json.loads(record)["changed"])
            if low <= changed <= high and visible <= self.shop.now:
                found.append((changed, record))
        page = [record for _, record in sorted(found)]
        at = int(request.args.get("cursor", 0))
        more = b',"next":"%d"' % (at + 4) if at + 4 < len(page) else b""
        return Response(b'{"data":[' + b",".join(page[at : at + 4]) + b"]" + more + b"}")


@pytest.mark.fault(15)
@pytest.mark.parametrize("seed", range(6))
def test_every_lasting_state_is_extracted_once(shop: Shop, vendor: HTTPServer, seed: int, figure: Figure) -> None:
    chance = random.Random(seed)
    till, spec = SlowTill(vendor, shop), make_spec(SALES | {"ascending": seed % 2 == 0})
    source = shop.source(base_url=vendor.url_for(""))
    for step in range(60):
        key = f"a{chance.randrange(step // 2 + 1)}"
        visible = till.sales.get(key, (NOW, b""))[0]
        if visible <= shop.now:  # a change overtaken before anyone could see it leaves no trace anywhere
            till.change(key, chance)
        shop.now += timedelta(seconds=chance.choice([1, 20, 60, 400]))
        if chance.random() < 0.3:
            (result,) = shop.extract(source, spec, force=True, max_records=3)
            assert result.error is None
    shop.now += timedelta(minutes=5)
    shop.extract(source, spec, force=True)
    records = shop.records()
    assert {record for _, record in till.sales.values()} <= set(records)
    assert len(records) == len(set(records))
    figure("records", len(records))


def test_what_does_not_count_as_a_change_is_not_extracted_again(shop: Shop, vendor: HTTPServer) -> None:
    signatures = iter("abc")

    def answer(_request: Request) -> Response:
        photo = {"url": f"https://photos.example/1?{next(signatures)}"}
        return Response(json.dumps({"data": [{"id": "1", "changed": shop.now.isoformat(), "photo": photo}]}))

    vendor.expect_request("/sales").respond_with_handler(answer)
    source, spec = shop.source(base_url=vendor.url_for("")), make_spec(SALES | {"volatile": ["photo"]})
    changed = shop.now
    for _ in range(2):
        (result,) = shop.extract(source, spec, force=True)
        assert result.error is None
    assert shop.now == changed and len(shop.records()) == 1
