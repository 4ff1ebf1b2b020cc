"""What is wrong with a block's file is found and named; where store and index differ is told."""

import random
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from ingestion import index
from ingestion.blocks import BlockStore, Manifest
from ingestion.integrity import Fault, check_block, check_index, single_flips
from ingestion.manifest import PIECE_BYTES
from tests.ingestion.conftest import SALES, Shop, make_spec
from tests.ingestion.test_blocks import write
from tests.ingestion.test_extract import Till


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(f"file://{tmp_path}/blocks")


@pytest.fixture(scope="module")
def noise() -> list[bytes]:
    """Records that do not compress: a file of more than one piece."""
    made = random.Random(5)
    return [b'{"id":%d,"v":"%s"}' % (n, made.randbytes(700).hex().encode()) for n in range(4000)]


def file_of(store: BlockStore, manifest: Manifest) -> Path:
    return Path(store.path(manifest.data_path))


def flip(path: Path, offset: int, by: int = 1) -> tuple[int, int]:
    content = bytearray(path.read_bytes())
    was = content[offset]
    content[offset] = was ^ by
    path.write_bytes(content)
    return was ^ by, was


def fault(store: BlockStore, manifest: Manifest) -> Fault:
    found = check_block(store, manifest)
    assert found is not None
    return found


def test_a_good_block(store: BlockStore) -> None:
    assert check_block(store, write(store, [b"{}"] * 3)) is None
    assert check_block(store, write(store, [])) is None


@pytest.mark.fault(24)
def test_a_flipped_byte_is_named_wherever_it_is(store: BlockStore, noise: list[bytes]) -> None:
    manifest = write(store, noise)
    assert len(manifest.file_crc32) > 2
    path = file_of(store, manifest)
    size = manifest.compressed_bytes
    for offset in (0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 12345, size - 1):
        is_now, was = flip(path, offset, 0x41)
        found = fault(store, manifest)
        assert (found.problem, found.offset) == ("file damaged", offset)
        assert found.detail == f"byte {offset} is 0x{is_now:02x} and was 0x{was:02x}"
        flip(path, offset, 0x41)
    assert check_block(store, manifest) is None


def test_more_than_a_byte(store: BlockStore, noise: list[bytes]) -> None:
    manifest = write(store, noise)
    path = file_of(store, manifest)
    flip(path, PIECE_BYTES + 5)
    flip(path, PIECE_BYTES + 9)
    found = fault(store, manifest)
    assert found.offset == PIECE_BYTES and "several bytes from 1048576 to 2097152" in found.detail


@pytest.mark.fault(24)
def test_a_file_that_is_cut_short_or_gone(store: BlockStore, noise: list[bytes]) -> None:
    manifest = write(store, noise[:50])
    path = file_of(store, manifest)
    path.write_bytes(path.read_bytes()[:-10])
    assert "10 bytes are missing at its end" in fault(store, manifest).detail
    path.unlink()
    assert fault(store, manifest).problem == "file missing"


def test_a_manifest_of_before_there_were_pieces(store: BlockStore) -> None:
    manifest = write(store, [b"{}"])
    old = manifest.model_copy(update={"file_crc32": ()})
    assert check_block(store, old) is None
    flip(file_of(store, manifest), 3)
    assert "too old to tell where" in fault(store, old).detail


def test_a_manifest_that_lies(store: BlockStore) -> None:
    manifest = write(store, [b"{}"])
    assert "the manifest is at fault" in fault(store, manifest.model_copy(update={"file_sha256": "0" * 64})).detail
    found = fault(store, manifest.model_copy(update={"sha256": "0" * 64}))
    assert "what it unpacks to has not" in found.detail


def test_every_flip_of_a_byte_is_solved() -> None:
    made = random.Random(7)
    for length in (1, 2, 255, 4096):
        text = made.randbytes(length)
        for place in {0, length // 2, length - 1}:
            other = bytearray(text)
            other[place] ^= (change := made.randrange(1, 256))
            assert (place, change) in list(single_flips(zlib.crc32(text) ^ zlib.crc32(other), length))


@pytest.fixture
def kept(shop: Shop, vendor: HTTPServer) -> Iterator[Shop]:
    """A shop with two indexed blocks."""
    till = Till(vendor)
    source = shop.source(base_url=vendor.url_for(""))
    for number in range(2):
        till.sell(f"a{number}", -10 * number)
        [result] = shop.extract(source, make_spec(SALES))
        assert result.outcome == "block"
        shop.now += timedelta(minutes=10)
    yield shop


def differences(shop: Shop) -> list[tuple[str, str]]:
    with closing(index.connect(shop.dsn)) as conn:
        return sorted((one.problem, one.path) for one in check_index(conn, shop.store))


def test_store_and_index_agree(kept: Shop) -> None:
    assert differences(kept) == []


def test_where_store_and_index_differ(kept: Shop) -> None:
    first, second = kept.manifests()
    Path(kept.store.path(first.path)).unlink()
    assert differences(kept) == [("file without manifest", first.data_path), ("manifest missing", first.path)]

    kept.store.write_bytes(first.path, first.model_copy(update={"records": 7}).model_dump_json().encode())
    assert differences(kept) == [("manifest differs", first.path)]
    kept.store.write_bytes(first.path, b"{")
    assert differences(kept) == [("manifest damaged", first.path)]

    kept.store.write_bytes(first.path, first.model_dump_json().encode())
    kept.rows("delete from control.blocks where block_id = %s", str(second.block_id))
    assert differences(kept) == [("not in the index", second.path)]


def test_a_block_that_is_being_written_is_no_fault(kept: Shop) -> None:
    with kept.store.open_write("7/1/sales/2025/03/10/12/00000000-0000-7000-8000-000000000000.jsonl.zst") as sink:
        sink.write(b"half")
    [(problem, path)] = differences(kept)
    assert problem == "file without manifest"
    with closing(index.connect(kept.dsn)) as conn:
        index.declare_intent(conn, "m", path, kept.manifests()[0].block_id, (kept.source().source_id, "sales"))
    assert differences(kept) == []
