"""Writes blocks as files, by hand: what the auditor reads must not depend on the code that usually writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import zstandard

ENCODER = msgspec.json.Encoder(decimal_format="number")


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


def alter(data: Path, key: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change one record of a stored block and make its manifest agree: what no check of bytes can see.

    `change` works on the record with this `id` or `guid` in place.
    """
    lines = zstandard.decompress(data.read_bytes(), max_output_size=1 << 28).splitlines()
    records = [json.loads(line, parse_float=Decimal) for line in lines]
    (at,) = [n for n, r in enumerate(records) if key in (r.get("id"), r.get("guid"))]
    change(records[at])
    lines[at] = ENCODER.encode(records[at])
    text = b"\n".join(lines) + b"\n"
    data.write_bytes(zstandard.compress(text))
    path = data.with_name(data.name.removesuffix(".jsonl.zst") + ".manifest.json")
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"sha256": hashlib.sha256(text).hexdigest()}))
