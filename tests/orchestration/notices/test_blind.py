"""The control database is away: one letter by the first cycle that finds it so, and one when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestration.notices import telling
from orchestration.notices.blind import is_away, is_back
from orchestration.notices.channels import Channels
from sharding.errors import LarderError
from sharding.settings import Settings
from tests.orchestration.notices.conftest import World
from tests.orchestration.notices.post import Office, body, free_port, opened

ERROR = LarderError(
    'the control database does not answer: connection to server at "db", port 5432 failed, password=hunter2',
    "config",
    "larder up",
)


@pytest.fixture
def away(settings: Settings) -> Callable[[Channels], Settings]:
    """`away(channels)`: settings that lead to these channels."""
    return lambda channels: settings.model_copy(
        update={
            "mail_host": channels.host,
            "mail_port": channels.port,
            "mail_security": "none",
            "mail_to": ",".join(channels.to),
        }
    )


def test_of_many_cycles_one_tells_and_one_says_that_it_is_back(
    world: World, away: Callable[[Channels], Settings]
) -> None:
    settings = away(world.channels)
    cycles = [threading.Thread(target=is_away, args=(settings, ERROR)) for _ in range(5)]
    for cycle in cycles:
        cycle.start()
    for cycle in cycles:
        cycle.join()
    [mail] = world.office.mails
    assert mail["Subject"] == "Larder: the control database does not answer"
    assert "larder up" in body(mail) and "hunter2" not in body(mail)
    for _ in range(2):
        telling.deliver(world.dsn, replace(world.channels, home=settings.home))
    assert world.office.subjects()[1:] == ["Larder: healed: the control database does not answer"]
    assert world.office.mails[1]["In-Reply-To"] == mail["Message-ID"]
    is_away(settings, ERROR)
    assert len(world.office.mails) == 3, "and the next time it is told again"


def test_a_mail_server_that_is_away_too_is_tried_by_the_next_cycle(away: Callable[[Channels], Settings]) -> None:
    port = free_port()
    settings = away(Channels(host="127.0.0.1", port=port, to=("ops@example.org",)))
    is_away(settings, ERROR)
    with opened(office := Office(), port=port) as channels:
        is_away(settings, ERROR)
        is_away(settings, ERROR)
        assert len(office.mails) == 1
        is_back(settings.home, replace(channels, port=free_port()))
        is_back(settings.home, channels)
        is_back(settings.home, channels)
    assert len(office.mails) == 2


def test_without_a_channel_nothing_is_written(settings: Settings) -> None:
    is_away(settings, ERROR)
    assert not settings.home.exists() or not list(settings.home.glob("control*"))
