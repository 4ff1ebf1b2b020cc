"""An extract killed at any step leaves nothing or a whole block; the next neither loses nor repeats a record."""

import pytest
from pytest_httpserver import HTTPServer

from ingestion.blocks import MANIFEST_SUFFIX
from tests.aside import killed
from tests.faults.record import Figure
from tests.ingestion.conftest import ITEMS, SALES, Shop, make_spec
from tests.ingestion.killed_extract import STEPS, kill_at
from tests.ingestion.test_extract import Till, ids

SALES_THEN_ITEMS = make_spec(SALES, ITEMS)


@pytest.mark.fault(1)
@pytest.mark.parametrize("occurrence", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_extract(shop: Shop, vendor: HTTPServer, step: str, occurrence: int, figure: Figure) -> None:
    till = Till(vendor)
    for number in range(10):
        till.sell(f"a{number}", 600 - number // 2)
    vendor.expect_request("/items").respond_with_json({"data": [{"id": "item"}]})
    source = shop.source(base_url=vendor.url_for(""))

    def extract() -> None:
        kill_at(step, occurrence)
        shop.extract(source, SALES_THEN_ITEMS, max_records=3)

    assert killed(extract)
    figure("kills", 1)

    for manifest in shop.store.manifests():  # whatever is committed is whole
        assert len(list(shop.store.read(manifest))) == manifest.records

    rerun = shop.extract(source, SALES_THEN_ITEMS, max_records=3)
    assert all(result.error is None and result.outcome != "busy" for result in rerun), rerun
    assert sorted(ids(shop)) == sorted([*(f"a{number}" for number in range(10)), "item"])
    in_store = {name for name in shop.files() if name.endswith(MANIFEST_SUFFIX)}
    assert in_store == {manifest.path for manifest in shop.manifests()}
    assert len(shop.files()) == 2 * len(in_store), "a file without manifest was left"
    assert shop.rows("select count(*) from control.block_intents") == [(0,)]
