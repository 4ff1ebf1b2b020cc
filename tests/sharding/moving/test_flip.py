"""When a flip begins: while a commit is quick, as all writers wait for one; but not never."""

from __future__ import annotations

import time

import pytest
from psycopg2.extensions import connection as Connection

from sharding.moving import flip
from tests.sharding.moving.conftest import Town


@pytest.mark.parametrize(("busy", "looks"), [(3, 4), (1_000, 6)], ids=["for a while", "all the time"])
def test_a_busy_disk_is_waited_for(town: Town, monkeypatch: pytest.MonkeyPatch, busy: int, looks: int) -> None:
    true_flush, seen = flip.flush, list[str]()

    def flush(conn: Connection) -> None:
        seen.append("a look")
        if seen.count("a look") <= busy:
            time.sleep(1.5 * flip._QUICK_SECONDS)  # the disk's, not ours
        true_flush(conn)

    def reached(point: str) -> None:
        seen.append(point)

    monkeypatch.setattr(flip, "flush", flush)
    monkeypatch.setattr(flip, "_LOOKS_AT_THE_DISK", 6)
    assert town.mover(reached=reached).move("new").state == "flipped"
    before = seen[: seen.index("both open")].count("a look")
    assert before >= looks  # a machine that is busy itself looks more often
    assert busy == 3 or before % looks == 0  # as often in each try, and then no more
