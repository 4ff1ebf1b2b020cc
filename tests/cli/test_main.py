"""The command line's frame: laziness, help, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from cli import main, output
from cli.main import COMMANDS, Lazy
from ingestion.errors import VendorError
from sharding.errors import LarderError
from tests.cli.conftest import Ran

HEAVY = ("psycopg2", "pydantic", "rich.console", "sqlalchemy", "dbt", "dlt", "dagster", "sharding", "ingestion")


def test_help_lists_every_command_and_imports_none() -> None:
    script = f"""
import sys
from cli.main import main
sys.argv = ["larder", "--help"]
try:
    main()
finally:
    print("imported:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "imported: []" in answer.stdout
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in answer.stdout and command.help.split()[0] in answer.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(larder: Callable[..., Ran], name: str) -> None:
    ran = larder(name, "--help")
    assert ran.code == 0 and f"larder {name}" in ran.out


def test_usage_errors_end_with_2(larder: Callable[..., Ran]) -> None:
    assert larder("nonsense").code == 2
    assert larder("status", "--nonsense").code == 2


def test_a_command_whose_module_is_missing_says_so(larder: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "ghost", Lazy("cli.ghost:ghost", "Not there."))
    ran = larder("ghost")
    assert (ran.code, "`larder ghost` is not part of this installation" in ran.err) == (1, True)
    assert larder("--help").code == 0


@pytest.mark.parametrize(
    ("error", "code", "turn"),
    [
        (LarderError("broken", "us", "larder doctor"), 1, "us"),
        (LarderError("wrong", "config", "larder doctor"), 2, "config"),
        (LarderError("yours", "you", "larder up"), 2, "you"),
        (LarderError("refused", "credentials", "larder source check"), 3, "credentials"),
        (VendorError("silent", next_command="larder extract"), 4, "vendor"),
        (LarderError("bad", "data", "larder quarantine list"), 5, "data"),
        (RuntimeError("surprise"), 1, "us"),
    ],
)
def test_errors_name_cause_turn_and_next_command(
    larder: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, turn: str
) -> None:
    def fail(name: str) -> main.Command:
        raise error

    monkeypatch.setattr(main, "load", fail)
    ran = larder("status")
    assert ran.code == code
    assert str(getattr(error, "cause", error)) in ran.err and f"turn: {turn}\n  next: larder" in ran.err
    ran = larder("status", "--json")
    assert ran.code == code and ran.json["error"]["turn"] == turn


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.Output().progress("load", 1000) as progress:
        for _ in range(100):
            progress.advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "load: 100 of 1,000" and lines[-1] == "load: 1,000 done" and len(lines) == 10
