"""kill -9 at any point of a load, then another load: the same rows as a load that nobody disturbed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt  # noqa: F401  # once, and not in each forked process: it is not what their time is for
import pytest

from ingestion import load
from ingestion.blocks import Manifest, Window
from ingestion.outcome import LoadResult
from ingestion.publish import _Work
from sharding.ids import make_id
from sharding.model import Shard
from tests.aside import die, killed
from tests.faults.record import Figure
from tests.ingestion.raw_model import Depot, Line, Sample, depot, expected

BUSINESSES = (7, 8)
SAMPLES = (
    Sample("orders", 0, tuple(Line(f"k{n}", "1.0", n) for n in range(200)), Window()),
    Sample("orders", 1, tuple(Line(f"k{n}", "2.0", 200 + n) for n in range(0, 300, 2)), Window()),
    Sample("items", 2, tuple(Line(f"i{n}", "1") for n in range(20)), Window(complete=True)),
    Sample(
        "items",
        3,
        (*(Line(f"i{n}", "1") for n in range(10)), Line("i10", "1", fault="not_jsonb")),
        Window(complete=True),
    ),
)
STEPS: dict[str, tuple[Any, str, bool]] = {
    "before landing": (load, "land", False),
    "after landing": (load, "land", True),
    "the gate is open": (_Work, "prepare", True),
    "rows are compared": (_Work, "compare_with_heads", True),
    "versions are written": (_Work, "write_versions", True),
    "heads are moved": (_Work, "move_heads", True),
    "before the ledger": (_Work, "ledger", False),
    "before the commit": (_Work, "ledger", True),
    "a business is published": (load, "publish", True),
}


def written(raw: Depot) -> dict[int, list[tuple[Sample, Manifest]]]:
    """The same blocks for both businesses."""
    raw.add_business(BUSINESSES[1])
    return {
        business: [
            (
                sample,
                raw.block(
                    sample.stream, (line.encode(sample.at) for line in sample.lines), sample.at, sample.window, business
                ),
            )
            for sample in SAMPLES
        ]
        for business in BUSINESSES
    }


def check(raw: Depot, blocks: dict[int, list[tuple[Sample, Manifest]]]) -> None:
    for stream in ("orders", "items"):
        current = raw.current(stream)
        for business in BUSINESSES:
            mine = {
                key: (str(version.payload["value"]), version.observed_at)
                for (source, key), version in current.items()
                if source == make_id(business, 1)
            }
            assert mine == expected(blocks[business], stream)
    raw.books_balance()
    assert raw.run("select count(*), sum(records) from {raw}.loaded_blocks") == [(8, 2 * (200 + 150 + 20 + 11))]
    assert raw.run(
        "select count(*) from (select from {raw}_acme.orders group by source_id, hash having count(*) > 1) as twice"
    ) == [(0,)]


def die_at(step: str) -> None:
    """Let this process die, as by kill -9, when it comes to the step."""
    owner, name, after = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> None:
        if after:
            original(*args, **kwargs)
        die()

    setattr(owner, name, dying)


def load_killed(raw: Depot, manifests: list[Manifest], begin: Callable[[], object]) -> None:
    """Load in a process that is killed, by what `begin` arranges or else at its end."""

    def work() -> None:
        begin()
        raw.load(*manifests)
        die()

    assert killed(work)


@pytest.mark.fault(1)
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(make_shard: Callable[..., Shard], tmp_path: Path, step: str, figure: Figure) -> None:
    raw = depot(make_shard, tmp_path)
    blocks = written(raw)
    manifests = [manifest for business in BUSINESSES for _, manifest in blocks[business]]
    load_killed(raw, manifests, lambda: die_at(step))
    whole = raw.run("select count(*) from {raw}.loaded_blocks group by source_id")
    assert all(count == (4,) for count in whole), "a business is published whole or not at all"
    assert len(whole) == (step == "a business is published")
    assert not raw.load(*manifests).failures
    check(raw, blocks)
    figure("kills", 1)


@pytest.mark.fault(1)
def test_killed_at_any_time(make_shard: Callable[..., Shard], tmp_path: Path, figure: Figure) -> None:
    undisturbed = depot(make_shard, tmp_path / "undisturbed")
    theirs = [manifest for of_one in written(undisturbed).values() for _, manifest in of_one]
    began = time.monotonic()
    assert not killed(lambda: undisturbed.load(*theirs))
    whole = time.monotonic() - began
    raw = depot(make_shard, tmp_path)
    blocks = written(raw)
    manifests = [manifest for business in BUSINESSES for _, manifest in blocks[business]]
    for part in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
        load_killed(raw, manifests, threading.Timer(part * whole, die).start)
        figure("kills", 1)
        assert all(count == (4,) for count in raw.run("select count(*) from {raw}.loaded_blocks group by source_id"))
    assert not raw.load(*manifests).failures
    check(raw, blocks)


@pytest.mark.fault(10)
def test_loads_side_by_side(make_shard: Callable[..., Shard], tmp_path: Path, figure: Figure) -> None:
    raw = depot(make_shard, tmp_path)
    blocks = written(raw)
    manifests = [manifest for business in BUSINESSES for _, manifest in blocks[business]]
    results: list[LoadResult] = []
    at_once = threading.Barrier(3)

    def load(mine: list[Manifest]) -> None:
        at_once.wait()
        results.append(raw.load(*mine))

    threads = [threading.Thread(target=load, args=(mine,)) for mine in (manifests, manifests[::-1], manifests[2:6])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.failures for result in results] == [[], [], []]
    assert sum(len(result.blocks) for result in results) == 8
    check(raw, blocks)
    figure("loads side by side", len(results))
    figure("blocks", len(manifests))
