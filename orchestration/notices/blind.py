"""The control database itself is away, and with it all that is known of causes: one letter, and one when it is back.

What was told stands in a file of the installation, under a lock, so that of many cycles that fail one tells.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from orchestration.notices.channels import Channels, Letter, NotSentError
from orchestration.notices.classes import MEANING
from orchestration.notices.scrub import scrub
from sharding.errors import LarderError
from sharding.settings import Settings

log = logging.getLogger(__name__)
_FILE = "control-database-is-away"


def is_away(settings: Settings, error: LarderError) -> None:
    """Tell that nothing can run, unless that was told. Raises nothing: a cycle that fails is to show its own error."""
    channels = Channels.of(settings)
    if not channels.names:
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    with _locked(settings.home / _FILE) as file:
        if file.read():
            return
        text = (
            "The control database does not answer: no cycle runs.\n\n"
            f"  cause      {scrub(error.cause, ())}\n"
            f"  class      database down: {MEANING['database down'].replace('a shard', 'the control')}\n"
            f"  next       {error.next_command}\n\n"
            "This is told once. The next letter comes when it is over.\n"
        )
        sent = _send(channels, "Larder: the control database does not answer", text)
        if sent:
            file.write(sent)


def is_back(settings_home: Path, channels: Channels) -> None:
    """Tell that it answers again, where it was told that it does not."""
    path = settings_home / _FILE
    if not path.exists():
        return
    with _locked(path) as file:
        told = file.read()
        text = "The control database answers again; the next cycle goes on where the last one was.\n"
        if not told or _send(channels, "Larder: healed: the control database does not answer", text, told):
            file.truncate(0)
            path.unlink(missing_ok=True)


def _send(channels: Channels, subject: str, text: str, answers: str | None = None) -> str | None:
    """Send by all channels; the message id where one of them took it."""
    letter, taken = None, False
    for name in channels.names:
        letter = Letter.of(channels, name, subject, text, answers)
        try:
            channels.send(letter)
            taken = True
        except (NotSentError, LarderError) as error:
            log.warning("a letter waits for the next cycle: %s", error)
    return letter.message_id if letter and taken else None


@contextmanager
def _locked(path: Path) -> Iterator[TextIOWrapper]:
    """The file, read from its beginning, for this process alone."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        yield file
