"""The arithmetic of sizes, the queue of cycles, and the limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.scale.__main__ import main
from bench.scale.limits import LIMITS, bites_at
from bench.scale.model import Costs, Fleet, most_locations, shard_seconds, size, windows_with_something
from bench.scale.queueing import simulate, uneven


def test_ten_times_the_locations_are_ten_times_the_data() -> None:
    small, large = size(Fleet(30_000)), size(Fleet(300_000))
    assert large.businesses == 10 * small.businesses == 100_000
    for figure in ("blocks_a_day", "records_a_day", "raw_bytes", "model_bytes", "index_bytes_a_day", "extract_cpu"):
        assert getattr(large, figure) == pytest.approx(10 * getattr(small, figure))


def test_a_quiet_window_makes_no_block() -> None:
    assert windows_with_something(0, 84) == 0
    assert windows_with_something(1, 84) == pytest.approx(1, rel=0.01)
    assert windows_with_something(100_000, 84) == pytest.approx(84)
    one = size(Fleet(3))
    assert one.blocks_a_day < one.windows_a_day


def test_shards_are_as_many_as_size_or_cpu_demands() -> None:
    by_size = size(Fleet(100_000, shard_bytes=1e11))
    assert by_size.shards == by_size.shards_by_size > by_size.shards_by_cpu
    by_cpu = size(Fleet(100_000, shard_bytes=1e18))
    assert by_cpu.shards == by_cpu.shards_by_cpu > by_cpu.shards_by_size == 1


def test_a_full_shard_s_pass_is_a_third_of_a_cycle() -> None:
    fleet, costs = Fleet(1), Costs()
    most = most_locations(fleet, costs)
    assert shard_seconds(most, fleet, costs) <= 200 < shard_seconds(most + 1, fleet, costs)


def test_where_nineteen_bits_end() -> None:
    businesses = LIMITS[0]
    assert bites_at(businesses, Fleet(1, locations_per_business=1)) == 2**19 + 1
    assert bites_at(replace(businesses, most=1e18), Fleet(1)) is None


def test_one_worker_and_one_shard_wait_for_the_pass_alone() -> None:
    told = simulate([60.0], workers=1, cycle_seconds=600, cycles=10)
    assert (told.median, told.longest, told.skipped, told.busy) == (60, 60, 0, pytest.approx(0.1))


def test_too_few_workers_skip_ticks_and_too_long_a_pass_too() -> None:
    assert simulate([60.0] * 30, workers=1, cycle_seconds=600).skipped > 0.5
    assert simulate([60.0] * 30, workers=4, cycle_seconds=600).skipped == 0
    assert simulate([900.0], workers=4, cycle_seconds=600, cycles=10).skipped == 0.5


def test_a_killed_worker_delays_one_shard_until_the_next_tick_at_most() -> None:
    passes = [60.0] * 8
    quiet = simulate(passes, workers=4, cycle_seconds=600)
    killed = simulate(passes, workers=4, cycle_seconds=600, killed=[1230.0])
    assert (quiet.longest, quiet.median) == (120, killed.median)
    assert killed.longest == 660
    at_once = simulate(passes, workers=4, cycle_seconds=600, killed=[1230.0], handed_on=0)
    assert at_once.longest == 150


def test_uneven_passes_keep_their_mean_and_their_seed() -> None:
    passes = uneven(1_000, 20.0, seed=1)
    assert sum(passes) / 1_000 == pytest.approx(20)
    assert passes == uneven(1_000, 20.0, seed=1) != uneven(1_000, 20.0, seed=2)


def test_it_prints_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--locations", "1000", "20000", "--cycle", "600"])
    told = capsys.readouterr()
    assert "6,667" in told.out + told.err
