"""Blocks in a bucket, over the real API: copied, read back, listed, deleted; what others do there is seen at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_httpserver import HTTPServer

from ingestion import index, uploads
from ingestion.blocks import BlockStore
from ingestion.erasing import erase_blocks, held
from ingestion.integrity import check_block
from ingestion.reindex import rebuild_index
from tests.ingestion.conftest import SALES, Shop, make_spec
from tests.ingestion.test_blocks import write
from tests.ingestion.test_extract import Till
from tests.object_store import Bucket, opened

SPEC = make_spec(SALES)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with opened(tmp_path, monkeypatch) as made:
        yield made


def test_blocks_are_copied_in_few_requests_read_back_released_and_indexed_anew(
    shop: Shop, vendor: HTTPServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.store = BlockStore(f"file://{shop.folder}", bucket.url)
    remote = shop.store.remote
    assert remote is not None
    till = Till(vendor)
    till.sell("a", 60)
    [result] = shop.extract(shop.source(base_url=vendor.url_for("").rstrip("/")), SPEC)
    [manifest] = shop.manifests()
    bucket.requests()
    assert uploads.upload(shop.dsn, shop.store).uploaded == 1, result
    assert sorted(bucket.requests()) == ["GET", "GET", "HEAD", "HEAD", "PUT", "PUT"]
    assert sorted(bucket.keys()) == sorted(f"larder/{name}" for name in (manifest.data_path, manifest.path))

    # Somebody spoils the copy: the local file stays, and the copy is made again, this time in parts.
    key = f"larder/{manifest.data_path}"
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"spoilt")
    with closing(index.connect(shop.dsn)) as conn:
        index.mark_loaded(conn, [manifest.block_id])
    later = datetime.now(UTC) + timedelta(hours=1)
    assert uploads.release(shop.dsn, shop.store, later) == (0, 0)
    fault = check_block(remote, manifest)
    assert fault is not None and "6 bytes instead of" in fault.detail
    monkeypatch.setattr(uploads, "_SMALL", 0)
    assert uploads.upload(shop.dsn, shop.store, again=True).uploaded == 1
    assert check_block(remote, manifest) is None
    records = list(shop.store.read(manifest))
    assert uploads.release(shop.dsn, shop.store, later) == (1, manifest.compressed_bytes)
    assert list(shop.store.read(manifest)) == records == list(remote.read(manifest))

    # The control database is lost: the bucket alone tells.
    with closing(index.connect(shop.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("truncate control.block_uploads, control.blocks, control.cursors cascade")
    assert rebuild_index(shop.dsn, BlockStore(bucket.url)) == 1
    assert [found.block_id for found in shop.manifests()] == [manifest.block_id]
    assert remote.find(manifest.block_id) == manifest and remote.find(uuid4()) is None


def test_what_others_write_and_delete_is_seen_at_once(bucket: Bucket) -> None:
    store = BlockStore(bucket.url)
    assert list(store.files()) == []
    bucket.client.put_object(Bucket=bucket.name, Key="larder/7/1/orders/a", Body=b"1")
    assert list(store.files()) == ["7/1/orders/a"] and store.fs.exists(store.path("7/1/orders/a"))
    bucket.client.delete_object(Bucket=bucket.name, Key="larder/7/1/orders/a")
    assert list(store.files()) == list(store.files("7/")) == [] and not store.fs.exists(store.path("7/1/orders/a"))


def test_a_listing_is_a_request_a_business_whatever_the_folders(bucket: Bucket) -> None:
    store = BlockStore(bucket.url)
    manifests = [write(store, [b"{}"]) for _ in range(3)]
    for hour in range(20):
        store.write_bytes(f"9/1/orders/2025/01/01/{hour:02}/x", b"1")
    bucket.requests()
    assert len(list(store.files())) == 26
    assert len(bucket.requests()) <= 3
    assert sorted(m.block_id for m in store.manifests()) == sorted(m.block_id for m in manifests)
    assert bucket.requests().count("GET") <= 6


def test_a_file_that_fails_on_its_way_leaves_the_one_of_before(bucket: Bucket) -> None:
    store = BlockStore(bucket.url)
    store.write_bytes("marts/part", b"whole")
    for size in (1 << 10, 51 << 20):  # before and after its first part is on the server
        with pytest.raises(ZeroDivisionError), store.open_write("marts/part") as sink:
            sink.write(bytes(size))
            raise ZeroDivisionError
        assert store.fs.cat_file(store.path("marts/part")) == b"whole"
        assert not bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads")
    with store.open_write("marts/part") as sink:
        sink.write(b"new")
    assert store.fs.cat_file(store.path("marts/part")) == b"new"
    for _ in range(2):
        store.delete("marts/part")
    assert bucket.keys() == []


def test_every_version_leaves_a_bucket_that_keeps_them(bucket: Bucket, tmp_path: Path) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    store = BlockStore(f"file://{tmp_path}/here", bucket.url)
    assert store.remote is not None
    for content in (b"one", b"two"):
        for business in (7, 70):
            store.remote.write_bytes(f"{business}/1/orders/block", content)
    store.remote.write_bytes("7/1/orders/gone", b"x")
    store.remote.delete("7/1/orders/gone")
    assert [(one.files, one.versions) for one in held(store, 7)] == [(0, 0), (1, 3)]
    erase_blocks(store, 7)
    assert [(one.files, one.versions) for one in held(store, 7)] == [(0, 0), (0, 0)]
    assert [(one.files, one.versions) for one in held(store, 70)] == [(0, 0), (1, 1)]
