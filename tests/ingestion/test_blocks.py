"""Blocks: what is written is what is read, and damage is noticed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ingestion.blocks import BlockStore, HttpEvidence, Manifest, Window
from ingestion.errors import DataError
from ingestion.uuid7 import uuid7

SOURCE = -(2**63) + 5  # ids of businesses from 2^18 up are negative


def write(store: BlockStore, records: list[bytes]) -> Manifest:
    with store.writer(2**18, SOURCE, "orders") as writer:
        for record in records:
            writer.write(record)
    manifest = writer.manifest(
        integration="acme",
        integration_version="1",
        window=Window(),
        cursor_before=None,
        cursor_after={"value": "x"},
        observed_at=datetime.now(UTC),
        http=HttpEvidence(),
        created_by="test",
    )
    writer.commit(manifest)
    return manifest


@pytest.fixture(params=["file", "memory"])
def store(request: Any, tmp_path: Path) -> BlockStore:
    """A local folder, and an object store (no rename)."""
    return BlockStore(f"file://{tmp_path}/blocks" if request.param == "file" else f"memory://{tmp_path.name}")


def test_a_block_is_read_as_it_was_written(store: BlockStore) -> None:
    records = [b'{"id":%d,"text":"\xff\xc3\xa9"}' % number for number in range(5000)]
    manifest = write(store, records)
    assert list(store.read(manifest)) == records
    assert list(store.manifests()) == [manifest] == [store.read_manifest(manifest.path)]
    assert manifest.path.startswith(f"{2**18}/{SOURCE}/orders/{datetime.now(UTC):%Y/%m/%d/}")
    assert (manifest.records, manifest.bytes) == (5000, sum(len(record) + 1 for record in records))
    assert manifest.compressed_bytes < manifest.bytes // 5


def test_a_block_may_be_empty(store: BlockStore) -> None:
    assert list(store.read(write(store, []))) == []


def test_a_block_left_by_an_error_leaves_nothing(store: BlockStore) -> None:
    with pytest.raises(RuntimeError), store.writer(1, 1, "orders") as writer:
        writer.write(b"{}")
        raise RuntimeError
    assert list(store.manifests()) == [] and store.fs.find(store.path("")) == []


def test_damage_is_noticed(tmp_path: Path) -> None:
    store = BlockStore(f"file://{tmp_path}")
    manifest = write(store, [b'{"id":1}', b'{"id":2}'])
    file = tmp_path / manifest.data_path
    whole = file.read_bytes()
    other = tmp_path / write(store, [b'{"id":1}', b'{"id":3}']).data_path
    for content in (whole[:-3], whole[:20], other.read_bytes(), b"", b"no zstd"):
        file.write_bytes(content)
        with pytest.raises(DataError) as error:
            list(store.read(manifest))
        assert str(manifest.block_id) in error.value.cause
        assert error.value.next_command.startswith("larder blocks verify")
    file.unlink()
    with pytest.raises(DataError, match="is gone"):
        list(store.read(manifest))


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    store = BlockStore(f"file://{tmp_path}")
    manifest = write(store, [b"{}"])
    (tmp_path / manifest.path).write_text('{"block_id": 1')
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        list(store.manifests())


def test_uuid7_sorts_by_time() -> None:
    made = [uuid7() for _ in range(1000)]  # many within one millisecond
    assert all(one.version == 7 and one.variant == UUID(int=8 << 60).variant for one in made)
    moment = datetime.fromtimestamp((made[0].int >> 80) / 1000, UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert made == sorted(made) and len(set(made)) == len(made)
