"""The error every part of Larder raises for a person to act on."""

from __future__ import annotations

from typing import Literal

Turn = Literal["vendor", "credentials", "data", "config", "us", "you"]


class LarderError(Exception):
    """What went wrong, whose turn it is, and the next command to run.

    Args:
        cause: one sentence naming the thing that failed and why.
        turn: who has to act; the CLI's exit code follows from it.
        next_command: a command that can be pasted into a shell.
    """

    def __init__(self, cause: str, turn: Turn, next_command: str) -> None:
        super().__init__(cause, turn, next_command)
        self.cause = cause
        self.turn = turn
        self.next_command = next_command

    def __str__(self) -> str:
        return f"{self.cause} — turn: {self.turn} — next: {self.next_command}"
