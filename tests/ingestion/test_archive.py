"""Blocks in one file: what goes in comes out elsewhere, and what was tampered with does not."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestion import archive
from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import ConfigError, DataError
from tests.ingestion.test_blocks import write

RECORDS = [b'{"id":%d}' % number for number in range(500)]


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(f"file://{tmp_path}/here")


@pytest.fixture
def there(tmp_path: Path) -> BlockStore:
    return BlockStore(f"file://{tmp_path}/there")


@pytest.fixture
def blocks(store: BlockStore) -> list[Manifest]:
    return [write(store, RECORDS), write(store, [b'{"id":"x"}'])]


def test_what_goes_in_comes_out(store: BlockStore, there: BlockStore, blocks: list[Manifest], tmp_path: Path) -> None:
    file = tmp_path / "blocks.tar"
    seal = archive.write(file, store, blocks, {"case.json": b"{}", "keys/sale.csv": b"1"})
    contents, new = archive.unpack(file, there, seal)
    assert new == contents.manifests == tuple(blocks) and contents.seal == seal
    assert contents.documents == {"case.json": b"{}", "keys/sale.csv": b"1"}
    assert list(there.read(blocks[0])) == RECORDS
    assert there.read_manifest(blocks[1].path) == blocks[1]
    assert archive.unpack(file, there)[1] == (), "a second time there is nothing to take"
    again = tmp_path / "again.tar"
    assert archive.write(again, store, blocks, {"case.json": b"{}", "keys/sale.csv": b"1"}) == seal
    assert again.read_bytes() == file.read_bytes()


Change = Callable[[dict[str, bytes]], object]


def rewritten(file: Path, change: Change) -> Path:
    """The archive with its members changed."""
    with tarfile.open(file) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    change(members)
    other = file.with_name("other.tar")
    with tarfile.open(other, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return other


def spoil(name_ends: str, by: bytes = b"\0") -> Change:
    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith(name_ends))
        members[name] = members[name][:-1] + by

    return change


def drop(name_ends: str) -> Change:
    return lambda members: members.pop(next(name for name in members if name.endswith(name_ends)))


def smuggle(members: dict[str, bytes]) -> None:
    members["../../etc/passwd"] = b"root"


def raise_a_number(members: dict[str, bytes]) -> None:
    """Another number of records, with the list made to fit: the list's hash is another one then."""
    name = next(name for name in members if name.endswith(".manifest.json"))
    members[name] = members[name].replace(b'"records": 500', b'"records": 501')
    listed = json.loads(members["larder-blocks.json"])
    listed["sha256"][name] = hashlib.sha256(members[name]).hexdigest()
    members["larder-blocks.json"] = json.dumps(listed, indent=1).encode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (spoil(".jsonl.zst"), "does not have the hash of its list"),
        (spoil(".manifest.json", b" "), "does not have the hash of its list"),
        (spoil("case.json"), "does not have the hash of its list"),
        (drop(".jsonl.zst"), "is missing"),
        (drop(".manifest.json"), "is missing"),
        (drop("larder-blocks.json"), "no archive of blocks"),
        (smuggle, "is not on its list"),
        (raise_a_number, "its seal is another one"),
    ],
)
def test_a_tampered_archive_is_refused_and_nothing_taken(
    store: BlockStore, there: BlockStore, blocks: list[Manifest], tmp_path: Path, change: Change, why: str
) -> None:
    file = tmp_path / "blocks.tar"
    seal = archive.write(file, store, blocks, {"case.json": b"{}"})
    with pytest.raises(DataError, match=why):
        archive.unpack(rewritten(file, change), there, seal)
    assert list(there.files()) == []


def test_a_lie_without_a_seal_is_found_when_it_is_unpacked(
    store: BlockStore, there: BlockStore, blocks: list[Manifest], tmp_path: Path
) -> None:
    file = tmp_path / "blocks.tar"
    archive.write(file, store, blocks[:1])
    with pytest.raises(DataError, match="damaged"):
        archive.unpack(rewritten(file, raise_a_number), there)
    assert list(there.manifests()) == []


def test_a_damaged_block_is_not_exported(store: BlockStore, blocks: list[Manifest], tmp_path: Path) -> None:
    path = Path(store.path(blocks[0].data_path))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="is damaged, and is not exported"):
        archive.write(tmp_path / "blocks.tar", store, blocks)
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_another_block_of_the_same_id_is_not_overwritten(
    store: BlockStore, there: BlockStore, blocks: list[Manifest], tmp_path: Path
) -> None:
    file = tmp_path / "blocks.tar"
    archive.write(file, store, blocks)
    there.write_bytes(blocks[0].path, blocks[0].model_copy(update={"records": 1}).model_dump_json().encode())
    with pytest.raises(DataError, match="is in the store already"):
        archive.unpack(file, there)
    assert list(there.files()) == [blocks[0].path]


def test_what_is_no_archive(there: BlockStore, tmp_path: Path, store: BlockStore) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="is not taken"):
        archive.unpack(tmp_path / "text", there)
    with pytest.raises(ConfigError, match="there is no file"):
        archive.unpack(tmp_path / "absent", there)
    with pytest.raises(ConfigError, match="no block"):
        archive.write(tmp_path / "x.tar", store, [])
