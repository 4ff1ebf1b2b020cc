"""The processes that shards are built in."""

from __future__ import annotations

import multiprocessing as mp
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from orchestration.workers import Workers


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_workers_are_forked_from_has_one_thread(tmp_path: Path) -> None:
    """A fork has copies of the locks that other threads hold, and nobody who opens them: it could hang for ever."""
    with Workers(tmp_path, tmp_path):
        context = mp.get_context("forkserver")
        first = context.Process(target=os.getpid)  # begins when all is imported
        first.start()
        first.join(60)
        assert first.exitcode == 0
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{server}/task").iterdir()]
        assert len(threads) == 1, threads
