"""Copies of blocks: made beside the way of the data, tracked, tried again, read back; nothing waits for them."""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pytest_httpserver import HTTPServer

from ingestion import index, uploads
from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import ConfigError, DataError
from tests.ingestion.conftest import SALES, Shop, make_spec
from tests.ingestion.test_extract import Till
from tests.waiting import until

SPEC = make_spec(SALES)


class Away(MemoryFileSystem):  # type: ignore[misc]
    """An object store that can be away, or slow."""

    protocol = "away"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    is_away = False
    waits = 0.0

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        time.sleep(type(self).waits)
        if type(self).is_away:
            raise ConnectionError("no route to the object store")
        return super()._open(path, mode, **kwargs)


fsspec.register_implementation("away", Away, clobber=True)


@pytest.fixture
def away() -> Iterator[type[Away]]:
    Away.is_away, Away.waits = False, 0.0
    yield Away
    Away.is_away, Away.waits = False, 0.0
    Away.store.clear()


@pytest.fixture
def shop(shop: Shop, away: type[Away], vendor: HTTPServer) -> Shop:
    """A shop whose blocks are copied to the object store."""
    shop.store = BlockStore(f"file://{shop.folder}", f"away:///{uuid4().hex}")
    till = Till(vendor)
    till.sell("a", 60)
    till.sell("b", 30)
    return shop


def extracted(shop: Shop, vendor: HTTPServer) -> Manifest:
    [result] = shop.extract(shop.source(base_url=vendor.url_for("").rstrip("/")), SPEC)
    assert result.outcome == "block", result.error
    return shop.manifests()[-1]


def states(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows(
        "select attempts, verified_at is not null, error, next_try_at > clock_timestamp() from control.block_uploads"
    )


def test_a_block_is_copied_and_its_copy_read_back(shop: Shop, vendor: HTTPServer) -> None:
    manifest = extracted(shop, vendor)
    assert (uploads.upload(shop.dsn, shop.store).uploaded, states(shop)) == (1, [(1, True, None, None)])
    assert shop.store.remote is not None
    assert list(shop.store.remote.read(manifest)) == list(shop.store.read(manifest))
    assert shop.store.remote.read_manifest(manifest.path) == manifest
    assert uploads.upload(shop.dsn, shop.store) == uploads.Round()


@pytest.mark.fault(28)
def test_a_store_that_is_away_delays_no_block_and_is_tried_again(
    shop: Shop, vendor: HTTPServer, away: type[Away]
) -> None:
    away.is_away = True
    manifest = extracted(shop, vendor)
    assert shop.store.fs.exists(shop.store.path(manifest.data_path)), "loadable, whatever the object store does"
    done = uploads.upload(shop.dsn, shop.store)
    assert (done.uploaded, done.failed, done.left) == (0, 1, 1)
    assert states(shop) == [(1, False, "ConnectionError: no route to the object store", True)]
    with closing(index.connect(shop.dsn)) as conn:
        behind = uploads.backlog(conn)
    assert (behind.waiting, behind.failing, behind.error) == (1, 1, "ConnectionError: no route to the object store")

    away.is_away = False
    assert uploads.upload(shop.dsn, shop.store).uploaded == 0, "its next try is later"
    assert uploads.upload(shop.dsn, shop.store, again=True).uploaded == 1
    assert states(shop) == [(2, True, None, None)]


@pytest.mark.fault(28)
def test_extracting_does_not_touch_the_object_store(shop: Shop, vendor: HTTPServer, away: type[Away]) -> None:
    away.waits = 3600.0
    extracted(shop, vendor)


def test_only_one_process_uploads(shop: Shop, vendor: HTTPServer) -> None:
    extracted(shop, vendor)
    with closing(index.connect(shop.dsn)) as other, other.cursor() as cur:
        cur.execute("select pg_advisory_lock(hashtextextended('larder upload', 0))")
        other.commit()
        assert uploads.upload(shop.dsn, shop.store) == uploads.Round(left=1, busy=True)
        assert not uploads.start_beside(shop.dsn, shop.store, shop.folder / "upload.log")


def test_a_process_beside_this_one_uploads(shop: Shop, vendor: HTTPServer, tmp_path: Path) -> None:
    manifest = extracted(shop, vendor)
    shop.store = BlockStore(shop.store.url, f"file://{tmp_path}/copies")
    assert uploads.start_beside(shop.dsn, shop.store, tmp_path / "logs" / "upload.log")
    until(lambda: shop.rows("select 1 from control.block_uploads where verified_at is not null"))
    assert (tmp_path / "copies" / manifest.data_path).is_file()
    assert not uploads.start_beside(shop.dsn, shop.store, tmp_path / "logs" / "upload.log"), "nothing is left"


def test_a_local_file_goes_only_when_its_copy_is_good(shop: Shop, vendor: HTTPServer) -> None:
    manifest = extracted(shop, vendor)
    later = datetime.now(UTC) + timedelta(hours=1)
    local = Path(shop.store.path(manifest.data_path))
    assert uploads.release(shop.dsn, shop.store, later) == (0, 0), "not copied"
    uploads.upload(shop.dsn, shop.store)
    assert uploads.release(shop.dsn, shop.store, later) == (0, 0), "not loaded"
    with closing(index.connect(shop.dsn)) as conn:
        index.mark_loaded(conn, [manifest.block_id])
    assert uploads.release(shop.dsn, shop.store, manifest.observed_at - timedelta(days=9000)) == (0, 0), "too young"

    assert shop.store.remote is not None
    copy = shop.store.remote.path(manifest.data_path)
    good = shop.store.remote.fs.cat_file(copy)
    shop.store.remote.fs.pipe_file(copy, b"spoilt" + good)
    assert uploads.release(shop.dsn, shop.store, later) == (0, 0) and local.exists()
    assert "has other bytes" in states(shop)[0][2]
    assert uploads.upload(shop.dsn, shop.store, again=True).uploaded == 1, "and it is made again"

    records = list(shop.store.read(manifest))
    assert uploads.release(shop.dsn, shop.store, later) == (1, manifest.compressed_bytes) and not local.exists()
    assert list(shop.store.read(manifest)) == records, "read from the copy"


def test_nothing_to_copy_to(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="no object store"):
        uploads.upload(shop.dsn, BlockStore(shop.store.url))
    assert not uploads.start_beside(shop.dsn, BlockStore(shop.store.url), shop.folder / "log")


def test_a_file_that_is_nowhere(shop: Shop, vendor: HTTPServer) -> None:
    manifest = extracted(shop, vendor)
    Path(shop.store.path(manifest.data_path)).unlink()
    with pytest.raises(DataError, match="is gone"):
        list(shop.store.read(manifest))
    done = uploads.upload(shop.dsn, shop.store)
    assert (done.failed, done.uploaded) == (1, 0)
