"""Blocks: immutable files of a vendor's records, committed by a manifest that is written last.

A block is `{business}/{source_id}/{stream}/{YYYY}/{MM}/{DD}/{HH}/{block_id}.jsonl.zst` (UTC hour of extraction) with
one record a line, and `{block_id}.manifest.json` beside it. A data file without a manifest is not a block. Object
stores have no rename, which is why the commit is a second, small object; on a local disk both files are written under
a temporary name, synced and renamed.

A store may have a *remote*: an object store that blocks are copied to beside all else (ingestion/uploads.py). Nothing
that is written waits for it; a file that is no longer here is read from there.
"""

import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from uuid import UUID

import fsspec
import zstandard
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile
from pydantic import ValidationError

from ingestion.errors import DataError
from ingestion.manifest import DATA_SUFFIX, MANIFEST_SUFFIX, PIECE_BYTES, HttpEvidence, Manifest, Window, block_stem
from ingestion.uuid7 import uuid7

__all__ = [
    "DATA_SUFFIX", "MANIFEST_SUFFIX", "BlockStore", "BlockWriter", "HttpEvidence", "Manifest", "Window", "block_stem",
]  # fmt: skip

_PARTIAL = ".partial"
_AT_ONCE = 200  # manifests
_CHUNK = 1 << 18


class BlockStore:
    """A folder of blocks in any fsspec store, named by URL (`file:///…`, `s3://…`). `remote`: where copies go."""

    def __init__(self, url: str, remote: str = "") -> None:
        self.url = url
        # What another process wrote or deleted a moment ago counts: nothing is answered from an earlier list.
        self.fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._local = isinstance(self.fs, LocalFileSystem)
        self.remote = BlockStore(remote) if remote else None

    def path(self, name: str) -> str:
        """The store's own path of a file named within the store."""
        return f"{self._root.rstrip('/')}/{name}"

    def writer(self, business: int, source_id: int, stream: str) -> "BlockWriter":
        """Open a new block; nothing is visible until `commit`."""
        return BlockWriter(self, business, source_id, stream)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a small file so that it is there whole or not at all."""
        if not self._local:  # one request, which an object store takes whole or not at all
            self.fs.pipe_file(self.path(name), content)
            return
        with self.open_write(name) as sink:
            sink.write(content)

    def open_write(self, name: str) -> "_Sink":
        """A file that appears under its name, whole, on a clean exit."""
        return _Sink(self, name)

    def read_manifest(self, name: str) -> Manifest | None:
        """The manifest at that path; None if there is none; DataError if it is damaged."""
        try:
            return _manifest(name, self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def manifests(self, prefix: str = "") -> Iterator[Manifest]:
        """Every manifest below a prefix, in no order: a walk, for rebuilding the index only."""
        names = (name for name in self.files(prefix) if name.endswith(MANIFEST_SUFFIX))
        while some := list(islice(names, _AT_ONCE)):
            if self._local:
                yield from (manifest for manifest in map(self.read_manifest, some) if manifest is not None)
                continue
            found = self.fs.cat([self.path(name) for name in some], on_error="return")  # all of them at once
            for name in some:
                content = found[self.path(name)]
                if isinstance(content, FileNotFoundError):
                    continue
                if isinstance(content, Exception):
                    raise content
                yield _manifest(name, content)

    def find(self, block_id: UUID) -> Manifest | None:
        """A block's manifest, where no index says in which folder it is."""
        file = f"/{block_id}{MANIFEST_SUFFIX}"
        name = next((name for name in self.files() if name.endswith(file)), None)
        return self.read_manifest(name) if name else None

    def files(self, prefix: str = "") -> Iterator[str]:
        """The name within the store of every file below a prefix. Whatever the folders, an object store is asked once
        for each folder of the first level and each thousand files."""
        start = len(self._root.rstrip("/")) + 1
        try:
            entries = self.fs.ls(self.path(prefix), detail=True)
        except FileNotFoundError:
            return
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            inside = self.fs.find(entry["name"]) if entry["type"] == "directory" else [entry["name"]]
            yield from (path[start:] for path in inside)

    def open_data(self, manifest: Manifest) -> IO[bytes]:
        """The block's file as it is; from the remote where it is no longer here. DataError if it is nowhere."""
        for store in (self, self.remote):
            if store is not None:
                try:
                    opened: IO[bytes] = store.fs.open(store.path(manifest.data_path), "rb")
                    return opened
                except FileNotFoundError:
                    continue
        raise DataError(
            f"block {manifest.block_id} has a manifest but its file {manifest.data_path} is gone",
            next_command=f"larder blocks verify {manifest.block_id}",
        )

    def read(self, manifest: Manifest) -> Iterator[bytes]:
        """The block's records in order, without line ends; DataError if bytes or count differ from the manifest.

        The check completes with the last record: use what was read only after the iterator ended.
        """
        again = f"larder blocks verify {manifest.block_id}"
        digest, count, left = hashlib.sha256(), 0, manifest.bytes
        try:
            with self.open_data(manifest) as source:
                plain = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
                lines = io.BufferedReader(plain, _CHUNK)
                while line := lines.readline(left + 1):  # a damaged file may unpack to a line without an end
                    digest.update(line)
                    count += 1
                    left -= len(line)
                    if left < 0:
                        break
                    yield line[:-1]
        except zstandard.ZstdError as error:
            raise DataError(f"block {manifest.block_id} is damaged: {error}", next_command=again) from error
        if digest.hexdigest() != manifest.sha256 or count != manifest.records:
            raise DataError(
                f"block {manifest.block_id} is damaged: its bytes do not have the hash of its manifest",
                next_command=again,
            )

    def delete(self, name: str) -> None:
        """Remove a file that no manifest commits, also half-written; no error if it is not there."""
        path = self.path(name)
        for one in (path, f"{path}{_PARTIAL}") if self._local else (path,):
            with suppress(FileNotFoundError):
                self.fs.rm_file(one)


def _manifest(name: str, content: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise DataError(
            f"the manifest {name} is damaged: {error.errors()[0]['msg']}", next_command="larder blocks list"
        ) from error


class _Sink:
    """A file in the store that appears whole, on a clean exit, or not at all."""

    def __init__(self, store: BlockStore, name: str) -> None:
        self._store = store
        self._name = name
        self._target = store.path(name)
        self._local = isinstance(store.fs, LocalFileSystem)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        if self._local:
            Path(self._target).parent.mkdir(parents=True, exist_ok=True)
            self._file = Path(f"{self._target}{_PARTIAL}").open("wb")
        else:
            self._file = self._store.fs.open(self._target, "wb", autocommit=False)
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file = self._file
        assert file is not None
        if self._local:
            if kind is None:
                file.flush()
                os.fsync(file.fileno())
            file.close()
            partial = Path(f"{self._target}{_PARTIAL}")
            if kind is None:
                partial.replace(self._target)
                _sync_folder(partial.parent)
            else:
                partial.unlink()
            return
        file.close()
        if kind is None:
            file.commit()  # type: ignore[attr-defined]
        else:
            file.discard()  # type: ignore[attr-defined]
            if not isinstance(file, AbstractBufferedFile):
                self._store.delete(self._name)  # a store that knows no pending uploads shows the file at once


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _HashingFile:
    """Counts and hashes what passes into a file, whole and by the piece."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.crc32: list[int] = []

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        view = memoryview(data)
        while view:
            within = self.size % PIECE_BYTES
            if within == 0:
                self.crc32.append(0)
            part = view[: PIECE_BYTES - within]
            self.crc32[-1] = zlib.crc32(part, self.crc32[-1])
            self.size += len(part)
            view = view[len(part) :]
        return self._target.write(data)


class BlockWriter:
    """Streams records into a new block's data file; use as a context manager, then `commit`.

    Memory is that of one zstd window, whatever the number of records. Leaving by an error removes the file.
    """

    def __init__(self, store: BlockStore, business: int, source_id: int, stream: str) -> None:
        self._store = store
        self.block_id = uuid7()
        self.business, self.source_id, self.stream = business, source_id, stream
        stem = block_stem(business, source_id, stream, self.block_id)
        self.data_path = f"{stem}{DATA_SUFFIX}"
        self.manifest_path = f"{stem}{MANIFEST_SUFFIX}"
        self.records = 0
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._sink = store.open_write(self.data_path)

    def __enter__(self) -> Self:
        self._file = _HashingFile(self._sink.__enter__())
        self._zstd = zstandard.ZstdCompressor(level=3).stream_writer(
            self._file,  # type: ignore[arg-type]
            closefd=False,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._zstd.close()  # type: ignore[no-untyped-call]
        self._sink.__exit__(kind, error, trace)

    def write(self, record: bytes) -> None:
        """Append one record (JSON text without line breaks)."""
        self.write_lines(record + b"\n", 1)

    def write_lines(self, lines: bytes, count: int) -> None:
        """Append `count` records, each already ended by a line feed."""
        self._zstd.write(lines)
        self._sha256.update(lines)
        self.records += count
        self.bytes += len(lines)

    def close(self) -> None:
        """End the data file: it appears under its name, whole."""
        self.__exit__(None, None, None)

    def abandon(self) -> None:
        """Remove the open data file."""
        self._sink.__exit__(InterruptedError, None, None)

    @property
    def sha256(self) -> str:
        """Hash of the uncompressed bytes so far."""
        return self._sha256.hexdigest()

    def manifest(self, **known: Any) -> Manifest:
        """The manifest of the closed data file; `known` are the fields that the writer cannot know."""
        return Manifest(
            block_id=self.block_id,
            business=self.business,
            source_id=str(self.source_id),
            stream=self.stream,
            records=self.records,
            bytes=self.bytes,
            compressed_bytes=self._file.size,
            sha256=self.sha256,
            file_sha256=self._file.sha256.hexdigest(),
            file_crc32=tuple(self._file.crc32),
            **known,
        )

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest: from here on the block exists."""
        self._store.write_bytes(manifest.path, manifest.model_dump_json(indent=1).encode() + b"\n")
