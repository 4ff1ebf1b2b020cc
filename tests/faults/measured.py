"""A process that reads or loads blocks and tells its greatest memory: `python -m … '{"act": …}'`; a line of JSON."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from ingestion.blocks import BlockStore, Manifest
from ingestion.errors import LarderError
from ingestion.extract import Options, extract_source
from ingestion.load import load_blocks
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec


def peak() -> int:
    """The greatest resident memory of this process, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def write(job: dict[str, Any]) -> dict[str, Any]:
    """A block of as many bytes of records."""
    text = "the same again " * 4000
    with BlockStore(job["store"]).writer(7, job["source"], "orders") as writer:
        number = 0
        while writer.bytes < job["bytes"]:
            writer.write(json.dumps({"id": f"k{number}", "changed": job["at"], "n": number, "note": text}).encode())
            number += 1
    manifest = writer.manifest(
        integration="acme", integration_version="1", window={}, cursor_before=None, cursor_after={},
        observed_at=job["at"], http={}, created_by="test",
    )  # fmt: skip
    writer.commit(manifest)
    return {"manifest": manifest.model_dump_json(), "records": number, "bytes": writer.bytes}


def load(job: dict[str, Any]) -> dict[str, Any]:
    specs = {"acme": IntegrationSpec.model_validate_json(job["spec"])}
    manifest = Manifest.model_validate_json(job["manifest"])
    done = load_blocks(job["dsn"], job["schemas"], [manifest], BlockStore(job["store"]), specs)
    return {"versions": sum(b.versions for b in done.blocks), "failures": [str(f.error) for f in done.failures]}


def read(job: dict[str, Any]) -> dict[str, Any]:
    try:
        records = sum(1 for _ in BlockStore(job["store"]).read(Manifest.model_validate_json(job["manifest"])))
    except LarderError as error:
        return {"error": str(error)}
    return {"records": records}


def extract(job: dict[str, Any]) -> dict[str, Any]:
    now = datetime.fromisoformat(job["now"])
    spec = IntegrationSpec.model_validate_json(job["spec"])
    at = (SourceRef(**job["source"]), spec, BlockStore(job["store"]), job["dsn"], lambda: now, Options(patience=2.0))
    return {"errors": [str(result.error) for result in extract_source(*at) if result.error]}


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    before = peak()
    found = {"write": write, "load": load, "read": read, "extract": extract}[told["act"]](told)
    print(json.dumps(found | {"before": before, "peak": peak()}))
