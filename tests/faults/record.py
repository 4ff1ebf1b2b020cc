"""Keeps what tests of faults report: which row they belong to, how they ended, and their figures.

`FAULTS_RESULTS=file pytest …` adds each such test's result to the file; `python -m tests.faults.page` reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Literal

import pytest

Figure = Callable[..., None]
"""`figure("kills", 212)`, `figure("to heal", 1.7, "s", "max")`: of several tests of a row sums or greatest."""

RESULTS = "FAULTS_RESULTS"
_compared: list[str] = []


def compared(what: str) -> None:
    """To be called by whoever found all of a business equal to the cent, from the vendor or its blocks to summaries."""
    _compared.append(what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Each result says how often its test compared."""
    _compared.clear()
    try:
        yield
    finally:
        item.user_properties.append(("compared", len(_compared)))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Report a figure of this test."""

    def note(name: str, value: float, unit: str = "", how: Literal["sum", "max"] = "sum") -> None:
        request.node.user_properties.append(("figure", [name, value, unit, how]))

    return note


def note_rows(items: list[pytest.Item]) -> None:
    """Each result says to which rows its test belongs."""
    for item in items:
        rows = [mark.args[0] for mark in item.iter_markers("fault")]
        if rows:
            item.user_properties.append(("faults", rows))


def pytest_configure(config: pytest.Config) -> None:
    """Keep results, once: not in the processes that xdist starts."""
    path = os.environ.get(RESULTS)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(path)))


class Recorder:
    """Results by test; those of tests that this run did not play stay."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = dict(report.user_properties).get("faults")
        if rows is None or (report.when != "call" and report.outcome == "passed"):
            return
        expected = getattr(report, "wasxfail", None)
        self.results[report.nodeid] = {
            "rows": rows,
            "outcome": "known" if expected is not None and report.outcome == "skipped" else report.outcome,
            "reason": expected or (_reason(report) if report.outcome == "skipped" else ""),
            "seconds": report.duration,
            "compared": dict(report.user_properties).get("compared", 0),
            "figures": [value for name, value in report.user_properties if name == "figure"],
        }

    def pytest_sessionfinish(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.results, indent=1, sort_keys=True))


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
