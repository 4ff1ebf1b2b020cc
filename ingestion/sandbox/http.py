"""What every vendor's server is made of: requests, answers, a token bucket, and faults that tests switch on."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from ingestion.sandbox.timeline import encoded

Fault = Literal["down", "unauthorized", "throttled", "malformed", "truncated", "spoiled"]
FAULTS: dict[Fault, str] = {
    "down": "the connection is closed without an answer",
    "unauthorized": "every request is refused as if the token had been revoked",
    "throttled": "every request is throttled, without end",
    "malformed": "answers are not JSON",
    "truncated": "answers end in the middle",
    "spoiled": "one record of every page is given what this fault's `with` says (a member → its value)",
}


@dataclass(frozen=True)
class Request:
    """One request, as a vendor's module sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    origin: str  # http://127.0.0.1:port
    now: datetime  # the sandbox's clock
    parameters: Sequence[tuple[str, str]] = ()  # the query as sent, with what is repeated

    @property
    def token(self) -> str:
        """What follows `Bearer `, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""


@dataclass(frozen=True)
class Answer:
    """Status, body and extra headers. `records` are where `spoiled` finds a record."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        """An answer with a JSON body."""
        return cls(encoded(value), status, headers or {})


class Vendor(Protocol):
    """A vendor's API. `vendors/<name>/vendor.py` makes one by ``open_vendor(trade)``.

    `rate` is requests a second for one token, above which `throttled` answers.
    """

    rate: int

    def answer(self, request: Request) -> Answer:
        """The answer to a request, errors included."""

    def throttled(self, retry_after: int) -> Answer:
        """How this vendor says that there were too many requests."""

    def unauthorized(self) -> Answer:
        """How this vendor refuses a token."""


class Bucket:
    """Requests a token may still make: `rate` a second, with a burst of one second's worth."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock, self._lock = rate, clock, threading.Lock()
        self._left: dict[str, float] = defaultdict(lambda: float(rate))
        self._since: dict[str, float] = {}

    def take(self, token: str) -> bool:
        """Whether a request may be made now."""
        with self._lock:
            now = self._clock()
            passed = now - self._since.get(token, now)
            self._since[token] = now
            self._left[token] = min(self._rate, self._left[token] + passed * self._rate)
            if self._left[token] < 1:
                return False
            self._left[token] -= 1
            return True


class Faults:
    """Faults by vendor, in `<home>/sandbox/faults.json`: `{"<vendor>": {"fault": …, "at": …, "with": {…}}}`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_home(cls, home: Path) -> Faults:
        """The faults of an installation's sandbox."""
        return cls(home / "sandbox" / "faults.json")

    def heal(self) -> None:
        """Every vendor is well."""
        self._file.unlink(missing_ok=True)

    def of(self, vendor: str) -> Mapping[str, Any]:
        """The fault of a vendor; empty where it is well."""
        try:
            found: Mapping[str, Any] = json.loads(self._file.read_text()).get(vendor, {})
        except FileNotFoundError:
            return {}
        return found

    def set(self, vendor: str, fault: Fault | None, at: str = "", **spoil: object) -> None:
        """Give a vendor a fault, or heal it. Only requests whose path holds `at` meet it."""
        all_faults = json.loads(self._file.read_text()) if self._file.exists() else {}
        all_faults.pop(vendor, None)
        if fault:
            all_faults[vendor] = {"fault": fault, "at": at, "with": spoil}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(all_faults))
        partial.replace(self._file)
