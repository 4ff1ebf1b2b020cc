"""Run by test_load_kill: a load that is killed at one of its steps, or after some seconds. Arguments: a JSON object."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from ingestion import load
from ingestion.blocks import BlockStore, Manifest
from ingestion.publish import _Work
from tests.ingestion.raw_model import SPECS

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


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(step: str) -> None:
    """Let the process die, as by kill -9, when it comes to the step."""
    owner, name, after = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> None:
        if after:
            original(*args, **kwargs)
        die()

    setattr(owner, name, dying)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    if job["step"] is not None:
        kill_at(job["step"])
    else:
        import dlt  # noqa: F401  # its import is not what the time is for

        threading.Timer(job["seconds"], die).start()
    manifests = [Manifest.model_validate_json(text) for text in job["manifests"]]
    load.load_blocks(job["dsn"], job["schemas"], manifests, BlockStore(job["store"]), SPECS)
    die()
