"""The sandbox's clock: a file, moved on by hand. `ingestion.clock` reads the same file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingestion.sandbox.data import OPENS_AT


class SandboxClock:
    """Now, as `<home>/sandbox/clock.json` has it; a new sandbox stands where two weeks of trade are to come."""

    def __init__(self, home: Path) -> None:
        self.file = home / "sandbox" / "clock.json"

    def now(self) -> datetime:
        """The sandbox's time, in UTC."""
        if not self.file.exists():
            self.set(OPENS_AT)
        return datetime.fromisoformat(json.loads(self.file.read_text())["now"]).astimezone(UTC)

    def set(self, moment: datetime) -> None:
        """Put the clock to `moment`."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps({"now": moment.isoformat()}))
        partial.replace(self.file)

    def advance(self, by: timedelta) -> datetime:
        """Let `by` pass; returns the new time."""
        moment = self.now() + by
        self.set(moment)
        return moment
