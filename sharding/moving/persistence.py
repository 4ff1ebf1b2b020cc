"""Goes on where a server went away and came back."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

import psycopg2

from sharding.errors import LarderError

PATIENCE = 60.0
"""Seconds that a driver waits for servers that do not answer, before it gives up; another can go on later."""
_INTERRUPTIONS = 20
_GOING_AWAY = ("57P01", "57P02", "57P03", "57P05", "25P03")  # shut down, crashed, starting; idle for too long

T = TypeVar("T")


def persistently(
    act: Callable[[], T], all_answer: Callable[[], None], patience: float, say: Callable[[str], None], again: str
) -> T:
    """Call `act`, which can be repeated, until it was not cut off by a server that went away.

    Args:
        all_answer: raises psycopg2.OperationalError unless all servers that `act` needs answer.
        patience: seconds to wait for them each time.
        again: the command that goes on later.

    Raises:
        LarderError: turn `us`: a server does not come back.
    """
    for interruption in count(1):
        try:
            return act()
        except psycopg2.Error as error:
            if not is_lost(error) or interruption == _INTERRUPTIONS:
                raise
            say(f"lost: {one_line(error)}")
            _wait(all_answer, patience, error, again)
    raise AssertionError("not reached")


def _wait(all_answer: Callable[[], None], patience: float, lost: psycopg2.Error, again: str) -> None:
    give_up = time.monotonic() + patience
    while True:
        try:
            all_answer()
            return
        except psycopg2.OperationalError as error:
            if time.monotonic() > give_up:
                raise LarderError(f"a database does not answer: {one_line(error)}", "us", again) from lost
        time.sleep(0.1)  # its return is not announced


def is_lost(error: BaseException) -> bool:
    """Whether a connection was lost or could not be had; the same may succeed when the server is back."""
    if not isinstance(error, psycopg2.Error):
        return False
    if error.pgcode is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError | psycopg2.DatabaseError)
    return error.pgcode[:2] == "08" or error.pgcode in _GOING_AWAY


def one_line(error: object) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())
