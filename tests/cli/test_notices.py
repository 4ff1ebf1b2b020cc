"""`larder notices`: what failed, whom it was told, and by which servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from cli.context import get_context
from ingestion import index
from orchestration.notices import state
from sharding.catalogue import Catalogue
from sharding.settings import get_settings
from tests.cli.conftest import Ran
from tests.orchestration.notices.conftest import down
from tests.orchestration.notices.post import Office, free_port, opened

Larder = Callable[..., Ran]


@pytest.fixture
def office(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """A mail server by the settings of the environment, and a source that failed."""
    catalogue.add_business("cafe_1", "Café 1", "shard_1")
    catalogue.add_source("cafe_1", "acme", "till", {}, None)
    with opened(made := Office()) as channels, closing(index.connect(catalogue.dsn)) as conn:
        for name, value in (
            ("HOST", "127.0.0.1"),
            ("PORT", channels.port),
            ("SECURITY", "none"),
            ("TO", "a@b.example"),
        ):
            monkeypatch.setenv(f"LARDER_MAIL_{name}", str(value))
        get_settings.cache_clear()
        get_context.cache_clear()
        state.meet(conn, [down(1)])
        yield made


def test_what_failed_is_listed_sent_shown_and_closed(larder: Larder, office: Office) -> None:
    [row] = larder("notices", "list", "--json").json["notices"]
    assert (row["class"], row["subject"], row["affected_now"], row["state"]) == ("vendor down", "Acme", 1, "to be told")
    assert larder("notices", "send").code == 0
    assert office.subjects() == ["Larder: Acme is down, for cafe_1/till"]
    shown = larder("notices", "show", str(row["notice"]))
    assert "cafe_1/till" in shown.out and "Larder: Acme is down" in shown.out
    assert larder("notices", "close", str(row["notice"])).code == 0
    assert larder("notices", "list").out.strip() == "Failures: none is open"
    assert larder("notices", "list", "--all", "--json").json["notices"][0]["state"] == "over"
    assert larder("notices", "show", "99").code == 2


def test_a_test_letter_says_what_the_server_answered(
    larder: Larder, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert larder("notices", "test", "--json").json == [{"channel": "mail", "to": "a@b.example", "result": "sent"}]
    assert office.subjects() == ["Larder: a test"]
    monkeypatch.setenv("LARDER_MAIL_PORT", str(free_port()))
    get_settings.cache_clear()
    get_context.cache_clear()
    tried = larder("notices", "test", "--json")
    assert tried.code == 2 and "refused" in tried.json[0]["result"]
    assert larder("notices", "send").code == 2
    assert "refused" in larder("notices", "list").out, "the letter waits, and says why"


def test_without_a_server_it_says_what_to_set(larder: Larder, catalogue: Catalogue) -> None:
    tried = larder("notices", "test")
    assert tried.code == 2 and "LARDER_MAIL_HOST" in tried.err


def test_a_business_has_recipients_of_its_own(larder: Larder, office: Office) -> None:
    assert larder("notices", "recipients", "cafe_1", "--add", "owner@cafe.example", "--json").json == [
        {"business": "cafe_1", "address": "owner@cafe.example"}
    ]
    larder("notices", "send")
    assert sorted(to for _, [to] in office.envelopes) == ["a@b.example", "owner@cafe.example"]
    assert larder("notices", "recipients", "cafe_1", "--remove", "owner@cafe.example").out.strip() == "nobody"
    assert larder("notices", "recipients", "cafe_1", "--add", "nobody").code == 2


def test_a_cycle_without_its_control_database_is_told(
    larder: Larder, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARDER_CONTROL_DSN", f"postgresql://u:hunter2@127.0.0.1:{free_port()}/x")
    for _ in range(2):
        get_settings.cache_clear()
        get_context.cache_clear()
        assert larder("cycle").code == 2
    [mail] = office.texts()
    assert mail.startswith("Larder: the control database does not answer\n") and "hunter2" not in mail
