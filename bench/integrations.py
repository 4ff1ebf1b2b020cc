"""What integrations cost: reading beside a bare loop, hundreds of them found and checked, and parsed by dbt."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2

from bench.orders import records
from ingestion.generate import generated_files, write
from ingestion.registry import BUILT_IN, FILE, discover
from ingestion.scaffold import INTEGRATIONS, Sample, Scaffold
from sharding import instances
from sharding.provision import provision_control
from sharding.settings import Settings, project_root

PAGE = 500
SPEC = """
name: bench
title: Bench
kind: pos
docs: https://bench.example
base_url: https://bench.example
auth: {type: bearer}
rate_limit: {requests: 1000000}
money: minor_units
time_zone: utc
streams:
  - name: orders
    about: Orders
    path: /orders
    params: {from: "{from}", to: "{to}"}
    records: orders
    natural_key: id
    modified: {path: updated_at}
    currency: [total_money.currency]
    cursor: {format: iso_z, lag: 2m}
    ascending: true
    paging: {type: cursor_query, cursor: cursor}
"""
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Reading:
    """CPU seconds of our process for the same pages: the engine and a bare loop, medians of pairs."""

    orders: int
    engine: float
    bare: float
    of_pairs: float  # median of each pair's quotient


def reading(home: Path, settings: Settings, orders: int, pairs: int) -> Reading:
    """Read the same pages by the engine and by an httpx loop that writes them to a compressed file, in turns."""
    pages = home / "pages"
    pages.mkdir()
    lines = list(records(orders))
    count = -(-orders // PAGE)
    for number in range(count):
        of_page = b",".join(lines[number * PAGE : (number + 1) * PAGE])
        cursor = b',"cursor":"%d"' % (number + 1) if number + 1 < count else b""
        (pages / str(number)).write_bytes(b'{"orders":[' + of_page + b"]" + cursor + b"}")
    at = instances.as_instance(instances.record_of("bench", settings))
    provision_control(at, settings)
    dsn = instances.instance_dsn(at, "larder_control", settings.home)
    with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("insert into control.instances values ('b', 'external', 'localhost', 1, 'u', 'env:X')")
        cur.execute("insert into control.shards (shard, instance, database) values ('shard_1', 'b', 'd')")
        cur.execute(
            "insert into control.businesses (business, name, display_name, shard) values (1, 'b', 'B', 'shard_1')"
        )
    (home / "bench").mkdir()
    (home / "bench" / FILE).write_text(SPEC)
    with _serving(pages) as url:
        costs = [(_one("engine", url, home, dsn, n), _one("bare", url, home, dsn, n)) for n in range(pairs)]
    return Reading(
        orders,
        statistics.median(engine for engine, _ in costs),
        statistics.median(bare for _, bare in costs),
        statistics.median(engine / bare for engine, bare in costs),
    )


@contextmanager
def _serving(pages: Path) -> Iterator[str]:
    """Serve the pages by a process of its own, so that its CPU is not counted."""
    command = [sys.executable, "-m", "bench.pages", str(pages)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _one(way: str, url: str, home: Path, dsn: str, number: int) -> float:
    job = json.dumps({"way": way, "url": url, "home": str(home), "dsn": dsn, "number": number})
    done = subprocess.run([sys.executable, "-m", "bench.read"], cwd=_ROOT, input=job, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def discovery(home: Path, count: int) -> float:
    """CPU seconds until that many integrations, copies of ours, are found and valid; a warm process."""
    folder = home / "many"
    files = sorted(BUILT_IN.glob(f"*/{FILE}"))
    for number in range(count):
        text = files[number % len(files)].read_text()
        (folder / f"v{number:03d}").mkdir(parents=True)
        (folder / f"v{number:03d}" / FILE).write_text(re.sub(r"(?m)^name: .*$", f"name: v{number:03d}", text, count=1))
    began = time.process_time()
    assert len(discover((folder,))) == count
    return time.process_time() - began


@dataclass(frozen=True)
class Parse:
    """CPU seconds of dbt's parse: the whole project, and again with nothing changed."""

    integrations: int
    first: float
    again: float


def parses(home: Path, counts: tuple[int, ...]) -> list[Parse]:
    """dbt's parse of the project as it is and with that many integrations' staging folders more."""
    project = home / "project"
    for name in ("dbt_project", "macros", "seeds"):
        shutil.copytree(project_root() / name, project / name)
    shutil.copy(project_root() / "dbt_project.yml", project)
    shutil.copytree(BUILT_IN, project / INTEGRATIONS)
    sample = home / "orders.json"
    sample.write_bytes(b'{"orders":[' + b",".join(records(20)) + b"]}")
    done, found = 0, []
    for count in counts:
        for number in range(done, count):
            made = Scaffold(
                Sample.read(f"made{number:03d}", "orders", sample), "Made", "pos", "https://made.example", "{}"
            )
            for path, text in made.files.items():
                (project / path).parent.mkdir(parents=True, exist_ok=True)
                (project / path).write_text(text)
        done = count
        _generate(project)
        shutil.rmtree(home / "target", ignore_errors=True)
        found.append(Parse(count, _parse(project, home / "target"), _parse(project, home / "target")))
    return found


def _generate(project: Path) -> None:
    """What is generated from the project's integrations; discovered anew each time."""
    folder = project.parent / f"specs{datetime.now().timestamp()}"
    folder.symlink_to(project / INTEGRATIONS)
    write(project, generated_files(discover((folder,))))


def _parse(project: Path, target: Path) -> float:
    """Children's CPU seconds of a parse in a process of its own, less those of an import of dbt."""
    began = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.dbt_worker", str(project), str(target)],
        cwd=_ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"dbt cannot parse:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system
