"""Folders for the length of one piece of work, which a killed process does not leave for ever."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(prefix: str, top: Path) -> Iterator[Path]:
    """A fresh folder below `top` that goes away afterwards, or with the next one of that prefix if we are killed."""
    top.mkdir(parents=True, exist_ok=True)
    for left in top.glob(f"{prefix}*"):
        pid = left.name.removeprefix(prefix).split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)) and os.access(left, os.W_OK):
            shutil.rmtree(left, ignore_errors=True)  # another process may be sweeping it too
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", dir=top) as folder:
        yield Path(folder)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
