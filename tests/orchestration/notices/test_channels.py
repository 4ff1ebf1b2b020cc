"""Letters over real SMTP and HTTP: with TLS and login, refused, and to servers that are away or silent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from orchestration.notices import channels as channels_module
from orchestration.notices.channels import Channels, Letter, NotSentError
from sharding.errors import LarderError
from tests.orchestration.notices.post import PASSWORD, USER, Office, body, free_port, opened

LETTER = Letter(
    "mail", ("ops@example.org", "on.call@example.org"), "Larder: “Café” is down", "what  Überlauf\n",
    "<1@example.org>", datetime(2025, 3, 10, 12, tzinfo=UTC), "<0@example.org>",
)  # fmt: skip


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for localhost, and an authority that this process trusts."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return context


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is given up soon."""
    monkeypatch.setattr(channels_module, "TIMEOUT", 0.3)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_mail_comes_as_it_was_written() -> None:
    with opened(office := Office()) as channels:
        assert channels.send(LETTER) is None
    [mail] = office.mails
    assert (mail["Subject"], body(mail)) == ("Larder: “Café” is down", "what  Überlauf\n")
    assert (mail["Message-ID"], mail["In-Reply-To"]) == ("<1@example.org>", "<0@example.org>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert office.envelopes == [("larder@example.org", ["ops@example.org", "on.call@example.org"])]


def test_the_line_is_encrypted_and_the_password_is_read_by_its_reference(tls: ssl.SSLContext, tmp_path: Path) -> None:
    (tmp_path / "mail").write_text(PASSWORD)
    with opened(office := Office(), tls=tls, login=True) as channels:
        with_login = replace(channels, home=tmp_path, user=USER, password="file:mail")
        with_login.send(LETTER)
        assert office.encrypted == [True]
        (tmp_path / "mail").write_text("another")
        with pytest.raises(NotSentError, match="535") as refused:
            with_login.send(LETTER)
        assert "another" not in str(refused.value)
        with pytest.raises(LarderError, match="cannot be read"):
            replace(with_login, password="file:nowhere").send(LETTER)


def test_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with opened(office := Office(), tls=tls) as channels, pytest.raises(NotSentError, match=r"(?i)certificate"):
        channels.send(LETTER)
    assert not office.mails


def test_tls_from_the_first_byte(tls: ssl.SSLContext) -> None:
    from aiosmtpd.controller import Controller

    office, port = Office(), free_port()
    controller = Controller(office, hostname="127.0.0.1", port=port, ssl_context=tls)
    controller.start()
    try:
        Channels(host="localhost", port=port, security="ssl", sender="a@example.org").send(LETTER)
    finally:
        controller.stop()
    assert len(office.mails) == 1


def test_a_password_never_goes_over_an_open_line() -> None:
    with opened(office := Office()) as channels, pytest.raises(LarderError, match="in clear"):
        replace(channels, user=USER).send(LETTER)
    assert not office.mails


def test_who_is_refused_keeps_nobody_from_the_mail() -> None:
    with opened(office := Office(refuses={"on.call@example.org"})) as channels:
        assert "on.call@example.org: 550" in (channels.send(LETTER) or "")
        assert office.envelopes == [("larder@example.org", ["ops@example.org"])]
        office.refuses.add("ops@example.org")
        with pytest.raises(NotSentError, match="no such user") as error:
            channels.send(LETTER)
        assert not error.value.is_away, "other letters may be taken"


def test_a_line_break_in_an_address_is_no_header() -> None:
    with opened(office := Office()) as channels, pytest.raises(LarderError, match="no mail address"):
        channels.send(replace(LETTER, recipients=("a@example.org\nBcc: b@example.org",)))
    assert not office.mails


def test_a_server_that_is_away_or_silent_is_given_up(quick: None, silent: int) -> None:
    for port in (free_port(), silent):
        with pytest.raises(NotSentError) as error:
            Channels(host="127.0.0.1", port=port, security="none").send(LETTER)
        assert error.value.is_away


def test_a_webhook_gets_what_slack_takes(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", httpserver.url_for("/services/T0/B0/secret"))
    seen: list[Request] = []

    def take(request: Request) -> Response:
        seen.append(request)
        return Response("ok")

    httpserver.expect_request("/services/T0/B0/secret", method="POST").respond_with_handler(take)
    Channels(webhook="env:HOOK").send(replace(LETTER, channel="webhook", body="a < b & c\n"))
    assert seen[0].content_type == "application/json"
    assert seen[0].get_json() == {"text": "*Larder: “Café” is down*\n```\na &lt; b &amp; c\n```"}


def test_a_webhook_that_fails_is_tried_again_and_its_address_stays_secret(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, quick: None, silent: int
) -> None:
    letter = replace(LETTER, channel="webhook")
    httpserver.expect_request("/s3cret").respond_with_data("busy", 503)
    for url, said in (
        (httpserver.url_for("/s3cret"), "HTTP 503"),
        (f"http://127.0.0.1:{silent}/s3cret", "does not answer"),
        (f"http://127.0.0.1:{free_port()}/s3cret", "does not answer"),
    ):
        monkeypatch.setenv("HOOK", url)
        with pytest.raises(NotSentError, match=said) as error:
            Channels(webhook="env:HOOK").send(letter)
        assert "s3cret" not in str(error.value)
