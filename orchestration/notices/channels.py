"""How a letter goes out: SMTP, and a webhook as Slack takes it. Both by settings, secrets by reference."""

from __future__ import annotations

import smtplib
import ssl
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import urllib3

from sharding.credentials import read_secret
from sharding.errors import LarderError
from sharding.settings import Settings

TIMEOUT = 10.0  # seconds for each answer of a server
Channel = Literal["mail", "webhook"]
_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class NotSentError(Exception):
    """The server did not take a letter; it is tried again. `is_away`: it would take no other one either."""

    def __init__(self, said: str, is_away: bool = True) -> None:
        super().__init__(said)
        self.is_away = is_away


@dataclass(frozen=True)
class Letter:
    """What is sent. `answers`: the message id of the letter that it follows."""

    channel: Channel
    recipients: tuple[str, ...]
    subject: str
    body: str
    message_id: str
    written_at: datetime
    answers: str | None = None

    @classmethod
    def of(cls, channels: Channels, channel: Channel, subject: str, body: str, answers: str | None = None) -> Letter:
        """A letter of now to those who run Larder, of a cause that is in no database."""
        now = datetime.now(UTC)
        return cls(channel, channels.to, subject, body, channels.new_message_id(), now, answers)


@dataclass(frozen=True)
class Channels:
    """Where letters go. Mails need a host and recipients. Without any channel causes are kept all the same."""

    home: Path = Path()
    host: str = ""
    port: int = 0
    security: Literal["starttls", "ssl", "none"] = "starttls"
    user: str = ""
    password: str = ""  # env:NAME or file:PATH
    sender: str = ""
    to: tuple[str, ...] = ()
    webhook: str = ""  # env:NAME or file:PATH
    ui_url: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Channels:
        """The channels of an installation."""
        to = tuple(filter(None, map(str.strip, settings.mail_to.split(","))))
        return cls(
            settings.home, settings.mail_host, settings.mail_port, settings.mail_security, settings.mail_user,
            settings.mail_password, settings.mail_from, to,
            settings.webhook,
            settings.ui_url.rstrip("/"),
        )  # fmt: skip

    @property
    def names(self) -> list[Channel]:
        """The channels that are open."""
        return [*(["mail"] if self.host and self.to else []), *(["webhook"] if self.webhook else [])]  # type: ignore[list-item]

    def send(self, letter: Letter) -> str | None:
        """Send a letter; what was refused of it, if others took it.

        Raises:
            NotSentError: nobody took it.
            LarderError: settings or secrets are missing.
        """
        if letter.channel == "mail":
            return self._mail(letter)
        self._post(letter)
        return None

    def new_message_id(self) -> str:
        """An id that no other letter has."""
        return f"<{uuid.uuid4()}@{self.sender_address.rpartition('@')[2] or 'larder'}>"

    def run_link(self, run_id: str | None) -> str:
        """Where Dagster shows a run; its id where the UI's address is not known."""
        if not run_id:
            return ""
        return f"{self.ui_url}/runs/{run_id}" if self.ui_url else f"{run_id} (larder dagster)"

    def _mail(self, letter: Letter) -> str | None:
        check_addresses(letter.recipients)
        message = EmailMessage()
        message["From"], message["To"] = self.sender_address, ", ".join(letter.recipients)
        message["Subject"] = letter.subject
        message["Date"], message["Message-ID"] = format_datetime(letter.written_at), letter.message_id
        message["Auto-Submitted"] = "auto-generated"  # no answering machine is to answer
        if letter.answers:
            message["In-Reply-To"] = message["References"] = letter.answers
        message.set_content(letter.body)
        password = read_secret(self.password, self.home) if self.password else ""
        if self.user and self.security == "none":
            raise LarderError("the mail server's password would go over the line in clear", "config",
                              "export LARDER_MAIL_SECURITY=starttls")  # fmt: skip
        try:
            with self._server() as server:
                if self.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, password)
                refused = server.send_message(message, self.sender_address, list(letter.recipients))
        except (OSError, smtplib.SMTPException) as error:
            of_letter = isinstance(error, (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError))
            raise NotSentError(_said(error), is_away=not of_letter) from error
        return "; ".join(f"{who}: {code} {_text(said)}" for who, (code, said) in refused.items()) or None

    @property
    def sender_address(self) -> str:
        """Who writes."""
        return self.sender or f"larder@{self.host}"

    def _server(self) -> smtplib.SMTP:
        port = self.port or _PORTS[self.security]
        if self.security == "ssl":
            return smtplib.SMTP_SSL(self.host, port, timeout=TIMEOUT, context=ssl.create_default_context())
        return smtplib.SMTP(self.host, port, timeout=TIMEOUT)

    def _post(self, letter: Letter) -> None:
        url = read_secret(self.webhook, self.home)
        text = f"*{letter.subject}*\n```\n{letter.body.strip()}\n```"
        for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # as Slack's markup wants it
            text = text.replace(char, escaped)
        try:
            with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=TIMEOUT)) as pool:
                answer = pool.request("POST", url, json={"text": text}, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NotSentError(f"{type(error).__name__}: the webhook does not answer") from error  # the URL is a secret
        if not 200 <= answer.status < 300:
            raise NotSentError(f"the webhook answered HTTP {answer.status}")


def check_addresses(found: Sequence[str]) -> None:
    """Raise LarderError, turn `config`, where one of them is no mail address."""
    for address in found:
        name, _, host = address.partition("@")
        strange = any(char.isspace() or char in "<>\"'()" for char in address) or not address.isascii()
        if not name or not host or strange:
            raise LarderError(f"{address!r} is no mail address", "config", "export LARDER_MAIL_TO=name@example.org")


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{who}: {code} {_text(said)}" for who, (code, said) in error.recipients.items())
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _text(said: bytes | str) -> str:
    return " ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else said).split())
