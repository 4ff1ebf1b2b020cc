"""The same generated orders into Postgres three ways, each run in a fresh process and a fresh database."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psycopg2

from bench.measure import Cost
from bench.orders import INTEGRATION, records, write_block
from bench.work import Job
from ingestion.blocks import BlockStore, Manifest
from sharding import instances
from sharding.model import Shard
from sharding.provision import provision_shard
from sharding.settings import Settings

BUSINESS = 1
_ROOT = Path(__file__).parent.parent


@contextmanager
def server(home: Path) -> Iterator[tuple[Settings, int]]:
    """A Postgres server of this benchmark alone, with the settings that shards run with; its pid."""
    settings = Settings(home=home)
    instances.start("bench", settings)
    try:
        pid = instances.status("bench", settings).pid
        assert pid is not None
        yield settings, pid
    finally:
        instances.remove("bench", settings)


@contextmanager
def fresh_shard(settings: Settings, name: str) -> Iterator[tuple[Shard, int]]:
    """A shard in a new database with one business and one source; and the source's id."""
    at = instances.as_instance(instances.record_of("bench", settings))
    password = instances.secret_path("bench", settings).read_text()
    shard = Shard(name, at.name, name, "", at.host, at.port, at.username, password)
    provision_shard(shard)
    with (
        closing(psycopg2.connect(instances.superuser_dsn(at, "postgres", settings))) as conn,
        conn,
        conn.cursor() as cur,
    ):
        cur.execute(f"grant pg_checkpoint to {at.username}")  # measurements begin after one
    source_id = BUSINESS << 45 | 1
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into keys.route (business, name, display_name) values (%s, 'bench', 'Bench')", (BUSINESS,))
        cur.execute("insert into keys.counter (business, next) values (%s, 100)", (BUSINESS,))
        cur.execute("insert into keys.source (id, integration, name) values (%s, %s, 'till')", (source_id, INTEGRATION))
    try:
        yield shard, source_id
    finally:
        with closing(psycopg2.connect(instances.instance_dsn(at, "postgres", settings.home))) as conn:
            conn.autocommit = True
            with conn.cursor() as cur:
                cur.execute(f"drop database {name} with (force)")


def make_blocks(store: BlockStore, source_id: int, orders: int, blocks: int) -> list[Manifest]:
    """`orders` generated orders in that many blocks."""
    made, lines = [], records(orders)
    for number in range(blocks):
        size = orders // blocks + (number < orders % blocks)
        made.append(write_block(store, source_id, [next(lines) for _ in range(size)]))
    return made


def measure(
    way: str, settings: Settings, pid: int, store: BlockStore, manifests: Sequence[Manifest], runs: int
) -> list[Cost]:
    """Costs of `runs` loads of the same blocks, each into an empty shard by a process that is warm but fresh."""
    costs = []
    for run in range(runs):
        with fresh_shard(settings, f"{way}_{run}") as (shard, source_id):
            warm_up = write_block(store, source_id, list(records(1, seed=run + 1)))
            job = Job(
                way, shard.dsn, pid, store.url, [manifest.model_dump_json() for manifest in manifests],
                warm_up.model_dump_json(),
            )  # fmt: skip
            costs.append(run_job(job))
    return costs


def run_job(job: Job) -> Cost:
    """Run a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.work"], cwd=_ROOT, input=json.dumps(asdict(job)), text=True, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(f"{job.way} failed:\n{done.stderr[-2000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def median(costs: Sequence[Cost]) -> Cost:
    """Median of each figure; of the peak, the highest."""
    middle = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "client", "postgres")}
    return replace(Cost(**middle), peak_mb=max(cost.peak_mb for cost in costs))
