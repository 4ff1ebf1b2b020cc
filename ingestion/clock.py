"""What time it is for the vendors: real time, or the sandbox's where this installation reads one.

The sandbox serves trade that is years old and is moved on by hand, so cadences, windows and "modified in the future"
must follow its clock and not the machine's.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ingestion.errors import ConfigError

Clock = Callable[[], datetime]


def real_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def sandbox_time(file: Path) -> datetime:
    """The time in a sandbox's `clock.json`; ConfigError where it does not hold one."""
    try:
        moment = datetime.fromisoformat(json.loads(file.read_text())["now"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} holds no sandbox time: {error}", next_command="larder sandbox status") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def is_sandbox(home: Path, kind: str = "auto") -> bool:
    """Whether this installation follows a sandbox's clock: `auto` does where its home has one, `real` never."""
    return kind == "auto" and _file(home).exists()


def clock_of(home: Path, kind: str = "auto") -> Clock:
    """The clock of an installation; the sandbox's is read anew each time, so that moving it on is seen."""

    def now() -> datetime:
        return sandbox_time(_file(home)) if is_sandbox(home, kind) else real_time()

    return now


def _file(home: Path) -> Path:
    return home / "sandbox" / "clock.json"
