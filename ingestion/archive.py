"""Blocks in one file, to take them to another machine: their manifests and bytes, and documents beside them.

A tar whose first member, `larder-blocks.json`, lists every other one with its SHA-256. Nothing is taken out before the
whole archive was read and every hash held. Whoever can rewrite the list can rewrite the rest as well, so a list has a
*seal*, its own hash, which is told by another way.
"""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from ingestion.blocks import BlockStore
from ingestion.errors import ConfigError, DataError
from ingestion.manifest import DATA_SUFFIX, MANIFEST_SUFFIX, Manifest

_LIST = "larder-blocks.json"
_FORMAT = 1
_DOCUMENTS = "documents/"
_CHUNK = 1 << 20
_SMALL = 64 << 20  # manifests and documents are held in memory


@dataclass(frozen=True)
class Contents:
    """What an archive holds, all of it checked. `seal`: 64 hexadecimal digits over its list."""

    manifests: tuple[Manifest, ...]
    documents: Mapping[str, bytes]
    seal: str


def write(
    path: Path, store: BlockStore, manifests: Sequence[Manifest], documents: Mapping[str, bytes] | None = None
) -> str:
    """Write blocks, checked on the way, and documents by name; returns the seal.

    Raises:
        DataError: a block's file is not what its manifest says. Nothing is left at `path` then.
        ConfigError: no block, or `path` cannot be written.
    """
    if not manifests:
        raise ConfigError("no block to export", next_command="larder blocks list")
    small = {f"{m.block_id}{MANIFEST_SUFFIX}": m.model_dump_json(indent=1).encode() + b"\n" for m in manifests}
    small |= {f"{_DOCUMENTS}{name}": content for name, content in (documents or {}).items()}
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in small.items()}
    listed |= {f"{m.block_id}{DATA_SUFFIX}": m.file_sha256 for m in manifests}
    head = json.dumps({"format": _FORMAT, "sha256": listed}, indent=1).encode()
    partial = path.with_name(f"{path.name}.partial")
    try:
        with tarfile.open(partial, "w") as tar:
            for name, content in {_LIST: head, **small}.items():
                _add(tar, name, io.BytesIO(content), len(content))
            for manifest in manifests:
                with store.open_data(manifest) as source:
                    hashing = _Hashing(source)
                    try:
                        _add(tar, f"{manifest.block_id}{DATA_SUFFIX}", hashing, manifest.compressed_bytes)
                    except OSError as error:
                        if hashing.size == manifest.compressed_bytes:
                            raise
                        raise _damaged(manifest) from error  # too short, which tarfile calls so
                    if hashing.hexdigest() != manifest.file_sha256:
                        raise _damaged(manifest)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}", next_command="larder blocks export --help") from error
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(head).hexdigest()


def read(path: Path, seal: str | None = None) -> Contents:
    """Check an archive whole, and say what is in it.

    Raises:
        DataError: it is no archive of blocks, or not what was exported (`seal`: as the exporter was told it).
    """
    small: dict[str, bytes] = {}
    with _opened(path) as tar:
        members = iter(tar)
        head = _content(tar, next(members, None), path)
        listed = _listed(head, path)
        if seal is not None and hashlib.sha256(head).hexdigest() != seal:
            raise _refused(path, "its seal is another one than was given")
        found = set()
        for member in members:
            if member.name not in listed or member.name in found or not member.isfile():
                raise _refused(path, f"{member.name} is not on its list")
            found.add(member.name)
            if member.name.endswith(DATA_SUFFIX):
                held = hashlib.file_digest(_file(tar, member), "sha256").hexdigest()
            else:
                small[member.name] = _content(tar, member, path)
                held = hashlib.sha256(small[member.name]).hexdigest()
            if held != listed[member.name]:
                raise _refused(path, f"{member.name} does not have the hash of its list")
        if missing := sorted(set(listed) - found):
            raise _refused(path, f"{missing[0]} is missing")
    manifests = tuple(_manifest(path, name, small[name], listed) for name in small if name.endswith(MANIFEST_SUFFIX))
    if len(manifests) != sum(name.endswith(DATA_SUFFIX) for name in listed):
        raise _refused(path, "it has a block's file without a manifest")
    documents = {n.removeprefix(_DOCUMENTS): content for n, content in small.items() if n.startswith(_DOCUMENTS)}
    return Contents(manifests, documents, hashlib.sha256(head).hexdigest())


def unpack(path: Path, store: BlockStore, seal: str | None = None) -> tuple[Contents, tuple[Manifest, ...]]:
    """Put an archive's blocks into a store; returns the contents, and those blocks that were not there before.

    Raises:
        DataError: as `read`; or the store has another block of one of these ids. Nothing is written then.
    """
    contents = read(path, seal)
    new = {f"{m.block_id}{DATA_SUFFIX}": m for m in contents.manifests if not _is_there(store, m)}
    with _opened(path) as tar:
        for member in tar:
            if member.name not in new:
                continue
            manifest = new[member.name]
            with store.open_write(manifest.data_path) as sink:
                source = _Hashing(_file(tar, member))
                shutil.copyfileobj(source, sink, _CHUNK)
                if source.hexdigest() != manifest.file_sha256:
                    raise _refused(path, f"{member.name} changed while it was read")
            for _ in store.read(manifest):  # what it unpacks to has its hash too
                pass
            store.write_bytes(manifest.path, manifest.model_dump_json(indent=1).encode() + b"\n")
    return contents, tuple(new.values())


def _is_there(store: BlockStore, manifest: Manifest) -> bool:
    stored = store.read_manifest(manifest.path)
    if stored is None:
        return False
    if stored != manifest:
        raise DataError(
            f"block {manifest.block_id} is in the store already, and is another one",
            next_command=f"larder blocks verify {manifest.block_id}",
        )
    return True


class _Hashing(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._digest = source, hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        self._digest.update(piece)
        self.size += len(piece)
        return piece

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: Any, size: int) -> None:
    member = tarfile.TarInfo(name)  # with no owner and no time: the same blocks make the same archive
    member.size = size
    tar.addfile(member, content)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield tar
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", next_command="larder blocks import --help") from error
    except tarfile.TarError as error:
        raise _refused(path, f"it cannot be read: {error}") from error


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    source = tar.extractfile(member)
    assert source is not None
    return source


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo | None, path: Path) -> bytes:
    if member is None or not member.isfile() or member.size > _SMALL:
        raise _refused(path, "it is no archive of blocks")
    content: bytes = _file(tar, member).read()
    return content


def _listed(head: bytes, path: Path) -> dict[str, str]:
    try:
        said = json.loads(head)
        if said["format"] != _FORMAT:
            raise _refused(path, f"its format {said['format']!r} is not known here")
        return {str(name): str(digest) for name, digest in said["sha256"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(path, "it is no archive of blocks") from error


def _manifest(path: Path, name: str, content: bytes, listed: Mapping[str, str]) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _refused(path, f"{name} is damaged: {error.errors()[0]['msg']}") from error
    if (
        name != f"{manifest.block_id}{MANIFEST_SUFFIX}"
        or listed.get(f"{manifest.block_id}{DATA_SUFFIX}") != manifest.file_sha256
    ):
        raise _refused(path, f"{name} is of another block")
    return manifest


def _damaged(manifest: Manifest) -> DataError:
    again = f"larder blocks verify {manifest.block_id}"
    return DataError(f"block {manifest.block_id} is damaged, and is not exported", next_command=again)


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"{path} is not taken: {why}", next_command="larder blocks export … --to FILE, again")
