"""A real SMTP server in this process, that keeps what it takes and refuses what a test says."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from orchestration.notices.channels import Channels

USER, PASSWORD = "larder", "open sesame 7"


@dataclass
class Office:
    """Takes mails. `answer` is what it says to a mail, `refuses` addresses that it does not know."""

    answer: str = "250 OK"
    refuses: set[str] = field(default_factory=set)
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    tried: int = 0

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        self.tried += 1
        if self.answer.startswith("2"):
            self.mails.append(message_from_bytes(envelope.original_content or b"", policy=policy.default))
            self.envelopes.append((envelope.mail_from or "", list(envelope.rcpt_tos)))
            self.encrypted.append(session.ssl is not None)
        return self.answer

    def authenticate(self, server: Any, session: Session, envelope: Envelope, how: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    def texts(self) -> list[str]:
        """Each mail as it came, subject and body."""
        return [f"{mail['Subject']}\n{body(mail)}" for mail in self.mails]

    def subjects(self) -> list[str]:
        """The subjects of what came."""
        return [str(mail["Subject"]) for mail in self.mails]


def body(mail: EmailMessage) -> str:
    """What a mail says."""
    return str(mail.get_content()).replace("\r\n", "\n")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def opened(office: Office, port: int = 0, tls: ssl.SSLContext | None = None, login: bool = False) -> Iterator[Channels]:
    """The office on a port; yields channels that lead there, without password."""
    more: dict[str, Any] = {"tls_context": tls, "require_starttls": tls is not None}
    if login:
        more |= {"authenticator": office.authenticate, "auth_required": True}
    controller = Controller(office, hostname="127.0.0.1", port=port or free_port(), **more)
    controller.start()
    try:
        yield Channels(
            host="localhost" if tls else "127.0.0.1", port=controller.port, security="starttls" if tls else "none",
            sender="larder@example.org", to=("ops@example.org",), ui_url="https://dagster.example.org",
        )  # fmt: skip
    finally:
        controller.stop()
