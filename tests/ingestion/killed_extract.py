"""Run by test_kill: an extract that is killed at one of its steps. Arguments: a JSON object."""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ingestion import draft, index
from ingestion.blocks import BlockStore, BlockWriter
from ingestion.extract import Options, extract_source
from ingestion.source import SourceRef
from ingestion.spec import IntegrationSpec

STEPS: dict[str, tuple[Any, str, bool]] = {
    "before the intent": (draft, "declare_intent", False),
    "after the intent": (draft, "declare_intent", True),
    "while writing": (BlockWriter, "write_lines", True),
    "before the file has its name": (BlockWriter, "close", False),
    "after the file has its name": (BlockWriter, "close", True),
    "after the manifest": (BlockWriter, "commit", True),
    "after the index": (draft, "record_block", True),
    "before the due time": (index, "set_read", False),
}


def kill_at(step: str, occurrence: int) -> None:
    """Let the process die, as by kill -9, when it comes to the step for the given time."""
    owner, name, after = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*args, **kwargs) if after or calls < occurrence else None
        if calls == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    kill_at(job["step"], job["occurrence"])
    now = datetime.fromisoformat(job["now"])
    extract_source(
        SourceRef(**job["source"]),
        IntegrationSpec.model_validate_json(job["spec"]),
        BlockStore(job["store"]),
        job["dsn"],
        lambda: now,
        Options(max_records=3),
    )
