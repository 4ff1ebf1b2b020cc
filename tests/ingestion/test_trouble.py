"""What a server or this machine lacks is told apart from what a record is to blame for."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from ingestion import load
from ingestion.publish import Published, publish
from ingestion.trouble import trouble_of
from sharding.model import Shard
from tests.ingestion.raw_model import START, Depot, depot


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (psycopg2.errors.DiskFull("no room"), None),  # without a server there is no SQLSTATE
        (MemoryError("realloc failed"), "this machine is out of memory: realloc failed"),
        (OSError(errno.ENOSPC, "No space left"), "a disk of this machine is full: [Errno 28] No space left"),
        (OSError(errno.EACCES, "not yours"), None),
        (ValueError("a number"), None),
    ],
)
def test_the_first_cause_counts(error: Exception, said: str | None) -> None:
    outer = RuntimeError("a step failed")
    outer.__cause__ = error
    found = trouble_of(outer)
    assert (found and found.cause) == said
    assert found is None or found.turn == "us"


def raising(sqlstate: str) -> str:
    return f"do $$ begin raise exception 'on purpose' using errcode = '{sqlstate}'; end $$"


@pytest.fixture
def raw(make_shard: Callable[..., Shard], tmp_path: Path) -> Depot:
    return depot(make_shard, tmp_path)


@pytest.mark.parametrize(
    ("sqlstate", "times", "turn"),
    [("40P01", 2, None), ("40P01", 9, "us"), ("53100", 9, "us"), ("58030", 9, "us"), ("22P02", 9, "data")],
)
def test_a_publish_that_the_server_refuses(
    raw: Depot, monkeypatch: pytest.MonkeyPatch, sqlstate: str, times: int, turn: str | None
) -> None:
    """A deadlock is tried again, trouble of the server is no block's fault, the rest is."""
    left = [times]

    def refused(conn: psycopg2.extensions.connection, *rest: object) -> Published:
        if left[0]:
            left[0] -= 1
            with conn, conn.cursor() as cur:
                cur.execute(raising(sqlstate))
        return publish(conn, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "publish", refused)
    result = raw.load(raw.block("orders", [{"id": "a", "changed": START.isoformat()}]))
    assert [failure.error.turn for failure in result.failures] == ([] if turn is None else [turn])
    assert len(raw.current("orders")) == (turn is None)
