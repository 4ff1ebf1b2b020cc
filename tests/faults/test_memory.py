"""Blocks of 2 GB and files that unpack to far more than they say: memory stays bounded."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pytest_httpserver import HTTPServer
from werkzeug import Response

from ingestion.http import MAX_PAGE
from sharding.model import Shard
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.test_stores import extract_one
from tests.faults.world import World
from tests.ingestion.conftest import SALES, Shop, make_spec
from tests.ingestion.conftest import shop as shop
from tests.ingestion.raw_model import SPECS, START, depot

MB, GB = 1 << 20, 1 << 30
MOST = 400 * MB  # beyond what the process had: a package of 64 MB, as Arrow's columns and as CSV


def measured(act: str, **job: Any) -> dict[str, Any]:
    """Do something in a process of its own; what it found, with its memory before and at most."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.measured", json.dumps({"act": act, **job})],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.fault(25)
@pytest.mark.parametrize("size", [64 * MB, pytest.param(2 * GB, marks=pytest.mark.faults)])
def test_a_big_block(make_shard: Callable[..., Shard], tmp_path: Path, size: int, figure: Figure) -> None:
    raw = depot(make_shard, tmp_path)
    at = {"store": raw.store.url}
    written = measured("write", **at, source=raw.source_id, bytes=size, at=START.isoformat())
    assert written["bytes"] >= size and written["peak"] - written["before"] < 50 * MB
    loaded = measured(
        "load", **at, dsn=raw.shard.dsn, schemas=dict(raw.shard.schemas), manifest=written["manifest"],
        spec=SPECS["acme"].model_dump_json(exclude_none=True),
    )  # fmt: skip
    assert loaded["failures"] == [] and loaded["versions"] == written["records"]
    assert raw.run("select count(*), sum((payload ->> 'n')::bigint) from {raw}_acme.orders_current") == [
        (written["records"], written["records"] * (written["records"] - 1) // 2)
    ]
    assert loaded["peak"] - loaded["before"] < MOST, f"{(loaded['peak'] - loaded['before']) // MB} MB"
    figure("block", size / MB, "MB", "max")
    figure("peak of writing it", written["peak"] / MB, "MB", "max")
    figure("peak of its load", loaded["peak"] / MB, "MB", "max")


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("lines", "size"),
    [
        (False, GB),
        pytest.param(True, 4 * GB, marks=pytest.mark.faults),
        pytest.param(False, 8 * GB, marks=pytest.mark.faults),
    ],
)
def test_a_block_that_is_a_bomb(
    make_shard: Callable[..., Shard], tmp_path: Path, lines: bool, size: int, figure: Figure
) -> None:
    """Its file unpacks to gigabytes; its manifest says 50 bytes."""
    raw = depot(make_shard, tmp_path)
    manifest = raw.block("orders", [{"id": "a", "changed": START.isoformat()}])
    bomb(Path(raw.store.path(manifest.data_path)), b"{}\n" if lines else b"0", size)
    found = measured("read", store=raw.store.url, manifest=manifest.model_dump_json())
    assert "damaged" in found["error"] and found["peak"] - found["before"] < 20 * MB
    good = raw.block("orders", [{"id": "b", "changed": START.isoformat()}])
    done = raw.load(manifest, good)
    assert [f.block_ids for f in done.failures] == [(manifest.block_id,)]
    assert {key for _, key in raw.current("orders")} == {"b"}
    figure("bomb", size / MB, "MB", "max")
    figure("peak of refusing it", found["peak"] / MB, "MB", "max")


@pytest.mark.faults
@pytest.mark.fault(25)
def test_a_bomb_in_the_place_of_a_block(world: World, figure: Figure) -> None:
    """Extracted, and replaced before it is loaded: it is named and waits; with its own bytes again, it loads."""
    world.trade(6700)
    block, file = extract_one(world)
    was = file.read_bytes()
    bomb(file, b"{}\n", GB)
    assert world.aside(world.cycle) == 1
    assert f"block {block.block_id} is damaged" in world.said, world.said
    file.write_bytes(was)
    figure("to heal", healed(world), "s", "max")
    figure("bomb", GB / MB, "MB", "max")


def bomb(file: Path, piece: bytes, size: int) -> None:
    with file.open("wb") as out, zstandard.ZstdCompressor(level=3).stream_writer(out) as packed:
        chunk = piece * (MB // len(piece))
        for _ in range(size // len(chunk)):
            packed.write(chunk)


@pytest.mark.faults
@pytest.mark.fault(25)
def test_an_answer_that_is_a_bomb(shop: Shop, httpserver: HTTPServer, figure: Figure) -> None:
    """4 GB of blanks in 4 MB of gzip."""
    packed = gzip.compress(b" " * (64 * MB), 9) * 64
    httpserver.expect_request("/sales").respond_with_handler(
        lambda request: Response(packed, content_type="application/json", headers={"Content-Encoding": "gzip"})
    )
    source = shop.source(base_url=httpserver.url_for("").rstrip("/"))
    found = measured(
        "extract", store=shop.store.url, dsn=shop.dsn, now=shop.now.isoformat(), source=asdict(source),
        spec=make_spec(SALES).model_dump_json(exclude_none=True),
    )  # fmt: skip
    assert found["errors"] and "more than 256 MB" in found["errors"][0], found["errors"]
    assert found["peak"] - found["before"] < MAX_PAGE + 100 * MB, f"{(found['peak'] - found['before']) // MB} MB"
    assert shop.files() == []
    figure("peak of refusing an answer", found["peak"] / MB, "MB", "max")
