"""Writes blocks as files, by hand: what the auditor reads must not depend on the code that usually writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard


@dataclass(frozen=True)
class Store:
    """A block store in a folder; `put` returns the path of a new block's data file."""

    folder: Path

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def put(
        self,
        block_id: str,
        records: Iterable[str],
        observed_at: str = "2024-03-01T12:00:00+00:00",
        window: dict[str, Any] | None = None,
        stream: str = "orders",
    ) -> Path:
        text = "".join(f"{record}\n" for record in records).encode()
        data = self.folder / "7" / "70" / stream / f"{block_id}.jsonl.zst"
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_bytes(zstandard.compress(text))
        manifest = {
            "block_id": block_id,
            "generation": 1,
            "source_id": "70",
            "stream": stream,
            "observed_at": observed_at,
            "window": window or {"start": None, "end": None, "complete": False},
            "records": text.count(b"\n"),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        data.with_name(f"{block_id}.manifest.json").write_text(json.dumps(manifest))
        return data


def rewrite(data: Path, old: str, new: str) -> None:
    """Change the records of a stored block and make its manifest agree: what no check of bytes can see."""
    text = zstandard.decompress(data.read_bytes(), max_output_size=1 << 28).decode()
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    changed = text.replace(old, new).encode()
    data.write_bytes(zstandard.compress(changed))
    path = data.with_name(data.name.removesuffix(".jsonl.zst") + ".manifest.json")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"sha256": hashlib.sha256(changed).hexdigest()}))
