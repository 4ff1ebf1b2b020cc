"""Runs `larder …` in this process, against this test's catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cli.context import get_context
from cli.main import main
from sharding.settings import Settings


@dataclass(frozen=True)
class Ran:
    """What a command printed and ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def larder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    """`larder("shard", "list")`: run the command line."""
    get_context.cache_clear()

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["larder", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        code = stop.value.code
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    yield run
    get_context.cache_clear()
