"""One reading of all pages in a process of its own (`python -m bench.read`, the job on stdin); prints CPU seconds."""

import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg2
import zstandard

from ingestion.blocks import BlockStore
from ingestion.extract import Options, extract_source
from ingestion.registry import FILE, load_spec
from ingestion.source import SourceRef

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Job:
    """What to read, and where to write it."""

    way: str
    url: str
    home: str
    dsn: str
    number: int


def bare(job: Job) -> float:
    """Ask for page after page; write each as it came into one compressed file."""
    target = Path(job.home) / f"bare{job.number}.zst"
    began = time.process_time()
    with httpx.Client() as client, target.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as sink:
        params = {"from": "2025-01-01T00:00:00.000Z", "to": NOW.isoformat()}
        while True:
            answer = client.get(f"{job.url}/orders", params=params, headers={"Authorization": "Bearer t"})
            answer.raise_for_status()
            page = answer.json()
            sink.write(answer.content)
            if "cursor" not in page:
                break
            params["cursor"] = page["cursor"]
    return time.process_time() - began


def engine(job: Job) -> float:
    """The same by an extract, from its cursor to the block's manifest."""
    spec = load_spec(Path(job.home) / "bench" / FILE)
    source_id = 1 << 45 | job.number
    with closing(psycopg2.connect(job.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute(
            "insert into control.sources (source_id, business, integration, name) values (%s, 1, 'bench', %s)",
            (source_id, f"s{job.number}"),
        )
    config = {"base_url": job.url, "since": "2025-01-01"}
    source = SourceRef(source_id, 1, "b", "bench", f"s{job.number}", config, {"token": "t"})
    store = BlockStore(f"file://{job.home}/blocks")
    began = time.process_time()
    (result,) = extract_source(source, spec, store, job.dsn, lambda: NOW, Options())
    spent = time.process_time() - began
    if result.error:
        raise result.error
    return spent


if __name__ == "__main__":
    job = Job(**json.loads(sys.stdin.read()))
    print({"bare": bare, "engine": engine}[job.way](job))
