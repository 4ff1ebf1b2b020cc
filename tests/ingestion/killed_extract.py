"""The steps of an extract at which a forked process is killed."""

from collections.abc import Callable
from typing import Any

from ingestion import draft, index
from ingestion.blocks import BlockWriter
from tests.aside import die

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
    """Let this process die, as by kill -9, when it comes to the step for the given time."""
    owner, name, after = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*args, **kwargs) if after or calls < occurrence else None
        if calls == occurrence:
            die()
        return result

    setattr(owner, name, dying)
