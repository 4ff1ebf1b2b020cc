"""Building shards: only those with something new, each for itself."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from orchestration.results import Target, rows_changed
from orchestration.transform import Choice, ShardBuild, Transform, target_of
from sharding.model import Shard
from tests.orchestration.conftest import add_source

Query = Callable[..., list[Any]]
MAPPED = """
insert into keys.source_location (id, source_id, natural_key, parent_id)
values (keys.make_id(1, 50), keys.make_id(1, 1), 'k', keys.make_id(1, 1));
insert into keys.location (id, parent_id, name) values (keys.make_id(1, 51), keys.make_id(1, 0), 'here');
insert into keys.location_map (source_location_id, location_id, rule, decided_by)
values (keys.make_id(1, 50), keys.make_id(1, 51), 'approved', 'ada');
"""


def build(transform: Transform, *targets: Target, **choice: Any) -> dict[str, ShardBuild]:
    return {b.shard: b for b in transform.build(targets, Choice(**choice))}


def test_one_parse_serves_shards_with_other_databases_and_namespaces(
    transform: Transform, two_shards: tuple[Shard, Shard], query: Query
) -> None:
    transform = dataclasses.replace(transform, workers=1)  # one process builds both
    built = build(transform, *map(target_of, two_shards))
    assert {b.state for b in built.values()} == {"built"}
    assert query(two_shards[0], "select name, shard from {marts}.dim_source") == [("pos", "shard_1")]
    assert query(two_shards[1], "select name, shard from {marts}.dim_source") == [("rota", "shard_2")]
    results = [b.result for b in built.values() if b.result]
    assert sorted(r.parse_seconds > 0 for r in results) == [False, True]


def test_nothing_new_is_skipped_and_one_new_row_builds_that_shard_only(
    transform: Transform, two_shards: tuple[Shard, Shard], query: Query
) -> None:
    targets = [target_of(s) for s in two_shards]
    assert set(transform.due(targets).values()) == {"never built"}
    build(transform, *targets)
    assert transform.due(targets) == {}
    assert {b.reason for b in build(transform, *targets).values()} == {"nothing new"}

    add_source(query, two_shards[1], 2, "pos")
    again = build(transform, *targets)
    assert again["shard_1"].state == "skipped"
    assert (again["shard_2"].state, again["shard_2"].reason) == ("built", "new in keys.source")


def test_a_commit_that_overlaps_the_build_is_seen_by_the_next_one(
    transform: Transform, two_shards: tuple[Shard, Shard], query: Query
) -> None:
    """Both began before the build; the one that is seen has the higher number."""
    target = target_of(two_shards[0])
    slow, new = psycopg2.connect(two_shards[0].dsn), "insert into keys.source (id, integration, name) values"
    with slow.cursor() as cur:
        cur.execute(f"{new} (keys.make_id(1, 77), 'vendor', 'desk')")
        query(two_shards[0], f"{new} (keys.make_id(1, 78), 'vendor', 'bar')")
        assert build(transform, target)["shard_1"].state == "built"
        assert transform.due([target]) == {}
    slow.commit()
    slow.close()
    assert transform.due([target]) == {"shard_1": "new in keys.source"}
    build(transform, target)
    assert query(two_shards[0], "select count(*) from marts.dim_source") == [(3,)]


def test_changed_models_maps_and_days_are_reasons_to_build(
    transform: Transform, two_shards: tuple[Shard, Shard], query: Query, tiny_project: Path
) -> None:
    target = target_of(two_shards[0])
    at_noon = dataclasses.replace(transform, clock=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))
    build(at_noon, target)
    query(two_shards[0], MAPPED)
    assert at_noon.due([target]) == {"shard_1": "new in keys.location_map"}
    [built] = build(at_noon, target).values()
    assert built.result is not None and [n.name for n in built.result.models] == ["dim_map"]
    tomorrow = dataclasses.replace(transform, clock=lambda: datetime(2026, 3, 2, 1, tzinfo=UTC))
    assert (at_noon.due([target]), tomorrow.due([target])) == ({}, {"shard_1": "a new day"})
    with (tiny_project / "dbt_project/models/sum_source.sql").open("a") as model:
        model.write("-- another meaning\n")
    assert at_noon.due([target]) == {"shard_1": "models changed"}


def test_a_restored_shard_is_rebuilt(transform: Transform, two_shards: tuple[Shard, Shard], query: Query) -> None:
    target = target_of(two_shards[0])
    build(transform, target)
    query(two_shards[0], "update raw.build_mark set system_identifier = 1")
    assert transform.due([target]) == {"shard_1": "restored on another cluster"}


def test_a_dead_shard_and_a_failing_one_leave_the_third_alone(
    transform: Transform, two_shards: tuple[Shard, Shard], query: Query
) -> None:
    add_source(query, two_shards[0], 1, "not an accepted value")
    dead = Target("shard_3", "127.0.0.1", 1, "nobody", "", "nowhere")
    built = build(transform, dead, *map(target_of, two_shards))
    assert {name: b.state for name, b in built.items()} == {
        "shard_1": "failed", "shard_2": "built", "shard_3": "failed"
    }  # fmt: skip
    assert "accepted_values" in built["shard_1"].reason
    assert "refused" in built["shard_3"].reason
    assert query(two_shards[0], "select count(*) from marts.dim_source") == [(2,)], "a failed test stops no model"
    assert transform.due([target_of(two_shards[0])]) == {}
    add_source(query, two_shards[0], 1, "desk")
    again = build(transform, target_of(two_shards[0]))["shard_1"]
    assert again.state == "failed" and "accepted_values" in again.reason, "it is asked again, also of what was there"


def test_a_worker_past_its_deadline_is_ended(
    transform: Transform, two_shards: tuple[Shard, Shard], tiny_project: Path, query: Query
) -> None:
    slow = tiny_project / "dbt_project/models/slow.sql"
    slow.write_text(
        "{{ config(materialized='table') }}\n"
        "select pg_sleep(case when '{{ target.name }}' = 'shard_1' then 60 else 0 end)::text as waited"
    )
    began = time.monotonic()
    build(transform, target_of(two_shards[1]))  # what is parsed now does not count later
    deadline = max(6, math.ceil(3 * (time.monotonic() - began)))  # enough for the other shard, on a busy machine too
    transform = dataclasses.replace(transform, deadline=deadline)
    built = build(transform, *map(target_of, two_shards), force=True)
    assert built["shard_1"].state == "failed"
    assert f"not finished after {deadline} s" in built["shard_1"].reason
    assert built["shard_2"].state == "built"


def test_a_selection_is_built_without_news_and_moves_no_mark(
    transform: Transform, two_shards: tuple[Shard, Shard]
) -> None:
    target = target_of(two_shards[0])
    built = build(transform, target, select=("dim_source",))["shard_1"]
    assert built.state == "built" and built.result is not None
    assert [n.name for n in built.result.models] == ["dim_source"]
    assert transform.due([target]) == {"shard_1": "never built"}


def test_two_builds_of_one_shard_do_not_run_at_once(transform: Transform, two_shards: tuple[Shard, Shard]) -> None:
    target = target_of(two_shards[0])
    first = transform.build([target])
    other = psycopg2.connect(two_shards[0].dsn)
    with other.cursor() as cur:
        cur.execute("select pg_advisory_lock(19453, hashtext(''))")
    try:
        assert [(b.state, b.reason) for b in first] == [("skipped", "another build runs here")]
    finally:
        other.close()


def test_the_password_is_not_written(transform: Transform, two_shards: tuple[Shard, Shard], tmp_path: Path) -> None:
    build(transform, target_of(two_shards[0]))
    written = [p for p in (tmp_path / "work").rglob("*") if p.is_file()]
    assert written
    assert not [p for p in written if two_shards[0].password.encode() in p.read_bytes()]


@pytest.mark.parametrize(
    ("response", "message", "expected"),
    [
        ({}, "3 inserted, 2 deleted, 7 unchanged", (3, 2)),
        ({}, "0 inserted, 0 deleted, 7 unchanged", (0, 0)),
        ({"rows_affected": 4, "code": "SELECT"}, "SELECT 4", (4, 0)),
        ({"code": "CREATE VIEW", "rows_affected": -1}, "CREATE VIEW", (None, None)),
        ({}, None, (None, None)),
    ],
)
def test_rows_changed(response: dict[str, object], message: str | None, expected: tuple[int | None, ...]) -> None:
    assert rows_changed(response, message) == expected
