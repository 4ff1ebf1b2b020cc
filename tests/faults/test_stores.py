"""Block stores that are full, read-only or damaged, and clocks that jump back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import http_date

from ingestion import index
from ingestion.manifest import Manifest
from tests.faults.disk import mounted
from tests.faults.record import Figure
from tests.faults.test_postgres import healed
from tests.faults.world import World


def cursors(world: World) -> list[tuple[Any, ...]]:
    with closing(index.connect(world.catalogue.dsn)) as conn, conn.cursor() as cur:
        cur.execute("select source_id, stream, cursor, block_id from control.cursors order by 1, 2")
        return cur.fetchall()


def extract(world: World) -> int:
    """Only the first step of a cycle; its exit code."""

    def only() -> None:
        world.load_and_build = lambda business="cafe": None  # type: ignore[assignment, method-assign]
        world.cycle()

    return world.aside(only)


def extract_one(world: World) -> tuple[Manifest, Path]:
    """Extract the one block that is due; what it is, and its file in the store."""
    assert extract(world) == 0, world.said
    with closing(index.connect(world.catalogue.dsn)) as conn:
        [block] = index.pending(conn)
    return block, Path(world.shop.installation.store.path(block.data_path))


@pytest.fixture
def small_store(world: World, tmp_path: Path) -> Iterator[Path]:
    """The world's block store on a file system of its own, with 1 MB left."""
    store = Path(world.shop.installation.store.path(""))
    subprocess.run(["cp", "-a", f"{store}/.", str(tmp_path)], check=True)
    told = subprocess.run(["du", "-sk", str(store)], capture_output=True, text=True, check=True).stdout
    with mounted(store, f"{int(told.split()[0]) + 1024}k"):
        subprocess.run(["cp", "-a", f"{tmp_path}/.", str(store)], check=True)
        yield store
        kept = tmp_path / "kept"
        kept.mkdir()
        subprocess.run(["cp", "-a", f"{store}/.", str(kept)], check=True)
    subprocess.run(["cp", "-a", f"{kept}/.", str(store)], check=True)


@pytest.mark.fault(7)
def test_a_full_disk_under_the_block_store(world: World, small_store: Path, figure: Figure) -> None:
    world.trade(6000)
    before, files = cursors(world), sorted(small_store.rglob("*"))
    ballast = small_store / "ballast"
    with ballast.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
        while True:
            out.write(b"x" * 4096)
    assert extract(world) == 1
    assert "cannot be written" in world.said and "No space left" in world.said, world.said
    assert cursors(world) == before
    ballast.unlink()
    assert [f for f in sorted(small_store.rglob("*.manifest.json")) if f not in files] == []
    figure("to heal", healed(world), "s", "max")
    figure("full disks", 1)


@pytest.mark.faults
@pytest.mark.fault(28)
def test_a_block_store_that_cannot_be_written(world: World, small_store: Path, figure: Figure) -> None:
    world.trade(6100)
    before = cursors(world)
    subprocess.run(["mount", "-o", "remount,ro", str(small_store)], check=True)
    assert extract(world) == 1
    assert "cannot be written" in world.said, world.said
    assert cursors(world) == before
    subprocess.run(["mount", "-o", "remount,rw", str(small_store)], check=True)
    figure("to heal", healed(world), "s", "max")


@pytest.mark.fault(24)
def test_a_byte_that_flips_between_extract_and_load(world: World, figure: Figure) -> None:
    """The damaged block is named and waits, its neighbour loads; with the byte as it was, it loads too."""
    world.trade(6200)
    damaged, file = extract_one(world)
    was = file.read_bytes()
    file.write_bytes(was[:40] + bytes([was[40] ^ 1]) + was[41:])
    world.trade(6201)
    assert world.aside(world.cycle) == 1
    assert f"block {damaged.block_id} is damaged" in world.said, world.said
    assert world.rows("cafe", "select count(*) from {marts}.fct_sale where natural_key = 'n6201'") == [(1,)]
    assert world.rows("cafe", "select count(*) from {marts}.fct_sale where natural_key = 'n6200'") == [(0,)]
    file.write_bytes(was)
    figure("to heal", healed(world), "s", "max")
    figure("flips", 1)


@pytest.mark.faults
@pytest.mark.fault(27)
@pytest.mark.parametrize("back", [timedelta(seconds=40), timedelta(hours=3), timedelta(days=400)])
def test_a_clock_that_jumps_back(world: World, back: timedelta, figure: Figure) -> None:
    """Ours, while the vendor's goes on: what is sold meanwhile is read when ours has come so far again."""
    number = 6300 + back.days
    world.trade(number)
    assert world.aside(world.cycle) == 0, world.said
    right = world.shop.now + timedelta(minutes=1)
    world.sell(f"meanwhile{number}-{back.seconds}", "7.77", changed=right.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    world.shop.now -= back
    assert world.aside(world.cycle) == 0, world.said
    world.shop.now = right + timedelta(minutes=1)
    figure("to heal", healed(world), "s", "max")
    figure("jumps", 1)


@pytest.mark.fault(27)
@pytest.mark.parametrize("ahead", [timedelta(hours=3), pytest.param(timedelta(days=400), marks=pytest.mark.faults)])
def test_a_clock_that_ran_ahead_and_jumps_back(
    world: World, ahead: timedelta, monkeypatch: pytest.MonkeyPatch, figure: Figure
) -> None:
    """A cycle is read by a clock that is ahead. What is sold between that and the correction is dated behind the end of
    the window that was read; it is not passed over, and the stream is due at once."""
    right = [world.shop.now]
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: http_date(right[0]))
    world.shop.now += ahead
    assert world.aside(world.cycle) == 0, world.said
    right[0] += timedelta(minutes=30)
    world.sell(f"between{ahead.days}", "8.88", changed=right[0].strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    right[0] += timedelta(hours=1)
    world.shop.now = right[0]
    with closing(index.connect(world.catalogue.dsn)) as conn:
        due = index.due_streams(conn, world.catalogue.source("cafe/till").id, world.spec(), world.shop.now)
    assert [stream.name for stream in due] == ["sales"]
    figure("to heal", healed(world), "s", "max")
    figure("jumps", 1)
