"""The sandbox's vendors as the suite meets them: small pages, a clock to move, and a hand on every answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ingestion.errors import LarderError
from ingestion.page import Page
from ingestion.registry import BUILT_IN, discover
from ingestion.sandbox.http import Answer, Bucket, Request, Vendor
from ingestion.sandbox.server import VENDORS, VendorServer, vendor_names
from ingestion.source import secrets_of
from ingestion.spec import IntegrationSpec, LoginAuth, OAuthRefreshAuth, OffsetPaging, PageNumberPaging, Stream

PAGE = 40
"""Records of a page, however many the integration asks for: windows of two days have several."""
_SIZES = ("limit", "pageSize", "page_size", "count", "max", "perPage", "per_page")

Hand = Callable[[Request, Callable[[], Answer]], Answer | None]
"""Given a request and the vendor's answer to it; what it returns is sent, None closes the connection."""


def names() -> list[str]:
    """Every integration that the sandbox serves."""
    return [name for name in vendor_names() if name in discover((BUILT_IN,))]


class Clock:
    """A vendor's clock."""

    def __init__(self, now: datetime) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment


class Server(VendorServer):
    """One vendor over real HTTP, without a rate of its own."""

    def __init__(self, name: str, vendor: Vendor, clock: Clock) -> None:
        super().__init__(name, vendor, clock, None)  # type: ignore[arg-type]
        self.bucket = Bucket(1_000_000)
        self.hand: Hand | None = None
        self.issued: set[str] = set()  # tokens handed out for logins
        self.token_at: str | None = None
        self.login: str | None = None
        self.guard = threading.Lock()

    def is_login(self, request: Request) -> bool:
        """Whether the request asks for a token."""
        return self.login is not None and request.path == self.login

    def reply(self, request: Request) -> Answer | None:
        with self.guard:
            hand = self.hand or (lambda request, answer: answer())
            answer = hand(request, lambda: self.vendor.answer(request))
        if answer is not None and self.is_login(request):
            self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        try:
            token = Page(answer.body, {}, "", "").text(self.token_at or "")
        except LarderError:
            return
        if token:
            self.issued.add(token)


@dataclass(repr=False)
class Stage:
    """One vendor: its server, and its integration with pages small enough to have several."""

    name: str
    server: Server
    clock: Clock
    spec: IntegrationSpec
    config: Mapping[str, Any]
    secret: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def secrets(self) -> list[str]:
        """Texts that may be nowhere: what opens the vendor (names of users and settings do not)."""
        public = {"username", "client_id"}
        return [value for name, value in self.secret.items() if name not in public]


def open_stage(name: str, vendor: Vendor, now: datetime) -> Stage:
    """Serve a vendor on a free port until `close`."""
    clock = Clock(now)
    server = Server(name, vendor, clock)
    spec = discover((BUILT_IN,))[name]
    match spec.auth:
        case LoginAuth(path=path, token=token):
            server.login, server.token_at = path, token
        case OAuthRefreshAuth(url=url):
            server.login, server.token_at = urlsplit(url).path, "access_token"
    threading.Thread(target=server.serve_forever, name=f"conformance {name}", daemon=True).start()
    told = yaml.safe_load((VENDORS / name / "source.yml").read_text())
    config = {
        **told["config"],
        "base_url": server.origin,
        "since": (now - timedelta(days=2)).date().isoformat(),
        "requests_per_second": 100_000,
    }
    if isinstance(spec.auth, OAuthRefreshAuth):
        config["token_url"] = f"{server.origin}{server.login}"
    secret = {name: str(told["secret"][name]) for name in secrets_of(spec)}
    return Stage(name, server, clock, small_pages(spec), config, secret)


def source_file(name: str) -> Path:
    """Where a vendor of the sandbox says how to connect with it."""
    return VENDORS / name / "source.yml"


def small_pages(spec: IntegrationSpec) -> IntegrationSpec:
    """The integration, asking for pages of at most `PAGE` records."""
    return spec.model_copy(update={"streams": tuple(_small(stream) for stream in spec.streams)})


def _small(stream: Stream) -> Stream:
    params, body = _fewer(stream.params), stream.body and _fewer(stream.body)
    update: dict[str, Any] = {"params": params, "body": body}
    shrunk = params != stream.params or body != stream.body
    if shrunk and isinstance(stream.paging, PageNumberPaging | OffsetPaging):
        update["paging"] = stream.paging.model_copy(update={"size": PAGE})
    return stream.model_copy(update=update)


def _fewer(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: min(v, PAGE) if name in _SIZES and isinstance(v, int) else v for name, v in values.items()}
