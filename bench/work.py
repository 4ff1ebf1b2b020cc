"""One measured load in a process of its own: `python -m bench.work '{"way": "ours", …}'` prints its cost as JSON."""

import csv
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass

import msgspec
import psycopg2

from bench.measure import Cost, measured
from ingestion import registry
from ingestion.blocks import BlockStore, Manifest
from ingestion.load import load_blocks
from ingestion.outcome import LoadResult

SCHEMAS = {"raw": "raw", "keys": "keys"}


@dataclass(frozen=True)
class Job:
    """What to load, where, and how."""

    way: str
    dsn: str
    postmaster: int
    store: str
    manifests: list[str]
    warm_up: str  # a block of one record, loaded first


class _Key(msgspec.Struct):
    id: str


def bare_copy(job: Job) -> Cost:
    """COPY source, natural key, ordinal and payload (jsonb) into a table without index: nothing checked or compared."""
    store, manifests = BlockStore(job.store), _manifests(job)
    with closing(psycopg2.connect(job.dsn)) as conn:
        with conn, conn.cursor() as cur:
            cur.execute("drop table if exists public.bare")
            cur.execute("create table public.bare (source_id bigint, natural_key text, ordinal bigint, payload jsonb)")
        with measured(job.postmaster) as cost, conn, conn.cursor() as cur:
            cur.copy_expert("copy public.bare from stdin with (format csv)", _CsvFile(_bare_rows(store, manifests)))
        with conn, conn.cursor() as cur:
            cur.execute("drop table public.bare")
    return cost


def _bare_rows(store: BlockStore, manifests: list[Manifest]) -> Iterator[tuple[str, str, int, str]]:
    key = msgspec.json.Decoder(_Key)
    for manifest in manifests:
        for ordinal, record in enumerate(store.read(manifest)):
            yield manifest.source_id, key.decode(record).id, ordinal, record.decode()


class _CsvFile(io.RawIOBase):
    """Rows as a CSV file for psycopg2 to read."""

    def __init__(self, rows: Iterator[tuple[object, ...]]) -> None:
        self._rows = rows

    def read(self, size: int = -1) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        for row in self._rows:
            writer.writerow(row)
            if buffer.tell() >= size > 0:
                break
        return buffer.getvalue()


def ours(job: Job) -> Cost:
    """Blocks into raw: checks, dlt, publish."""
    load = _loader(job)
    load([Manifest.model_validate_json(job.warm_up)])
    with measured(job.postmaster) as cost:
        result = load(_manifests(job))
    if result.failures:
        raise result.failures[0].error
    return cost


def one_block(job: Job) -> Cost:
    """One block by a warm process, as each source of each cycle is: the median of the blocks given."""
    load = _loader(job)
    load([Manifest.model_validate_json(job.warm_up)])
    costs = []
    for manifest in _manifests(job):
        with measured(job.postmaster) as cost:
            load([manifest])
        costs.append(cost)
    return sorted(costs, key=lambda cost: cost.cpu)[len(costs) // 2]


def dlt_default(job: Job) -> Cost:
    """dlt's own way: nested normaliser, insert_values, append."""
    import dlt
    from dlt.destinations import postgres
    from dlt.destinations.impl.postgres.configuration import PostgresCredentials

    dlt.config["runtime.dlthub_telemetry"] = False
    dlt.config["runtime.log_level"] = "ERROR"
    credentials = PostgresCredentials(job.dsn)
    credentials.password = credentials.password or ""
    store = BlockStore(job.store)

    def run(manifests: list[Manifest], dataset: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            rows = (json.loads(record) for manifest in manifests for record in store.read(manifest))
            dlt.pipeline(
                dataset, pipelines_dir=folder, destination=postgres(credentials=credentials), dataset_name=dataset
            ).run(dlt.resource(rows, name="orders", write_disposition="append"))

    run([Manifest.model_validate_json(job.warm_up)], "dlt_warm")
    with measured(job.postmaster) as cost:
        run(_manifests(job), "dlt_default")
    with closing(psycopg2.connect(job.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("drop schema dlt_warm cascade")
        cur.execute("drop schema dlt_default cascade")
    return cost


def _loader(job: Job) -> Callable[[list[Manifest]], LoadResult]:
    store, specs = BlockStore(job.store), registry.discover()
    return lambda manifests: load_blocks(job.dsn, SCHEMAS, manifests, store, specs)


def _manifests(job: Job) -> list[Manifest]:
    return [Manifest.model_validate_json(text) for text in job.manifests]


WAYS: dict[str, Callable[[Job], Cost]] = {
    "bare_copy": bare_copy,
    "ours": ours,
    "one_block": one_block,
    "dlt_default": dlt_default,
}

if __name__ == "__main__":
    job = Job(**json.loads(sys.stdin.read()))
    print(json.dumps(asdict(WAYS[job.way](job))))
