"""What people call things, and write into settings: texts that can be stored, printed and told apart."""

from __future__ import annotations

import unicodedata
from typing import Any

from sharding.errors import LarderError


def check_name(name: str, what: str, next_command: str) -> None:
    """A name to type: not blank, and without `/`, which stands between two names. Raises as `check_text`."""
    if not name.strip() or "/" in name:
        raise LarderError(f"{what} cannot be called {name!r}: a name is not blank and has no /", "you", next_command)
    check_shown(name, what, next_command)


def check_shown(text: str, what: str, next_command: str) -> None:
    """A text for one line: without control characters. Raises as `check_text`."""
    _refuse(text, ("Cc", "Cs"), what, next_command)


def check_text(value: Any, what: str, next_command: str) -> None:
    """A text, or settings of texts, that Postgres can store: without NUL and halves of surrogate pairs.

    Raises:
        LarderError: turn `you`.
    """
    if isinstance(value, str):
        _refuse(value, ("Cs",), what, next_command)
    elif isinstance(value, dict):
        for pair in value.items():
            check_text(list(pair), what, next_command)
    elif isinstance(value, list | tuple):
        for part in value:
            check_text(part, what, next_command)


def _refuse(text: str, kinds: tuple[str, ...], what: str, next_command: str) -> None:
    wrong = next((c for c in text if c == "\0" or unicodedata.category(c) in kinds), None)
    if wrong is not None:
        raise LarderError(f"{what} holds the character U+{ord(wrong):04X}", "you", next_command)
