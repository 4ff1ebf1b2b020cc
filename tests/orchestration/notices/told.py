"""A shop whose failures are told to a mail server and a webhook; nobody's data may be in what they get."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from werkzeug import Request, Response

from ingestion import index
from orchestration.cycle import Scope, run_cycle
from orchestration.events import CycleReport
from orchestration.notices import outbox
from tests.orchestration.notices.post import Office
from tests.orchestration.shop import Shop

GUEST = {
    "name": "Maria Garcia",
    "email": "maria.garcia@example.com",
    "phone": "+1 555 123 4567",
    "note": "Nussallergie",
}
SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
PLANTED = ("Maria", "Garcia", "maria", "555", "4567", "Nuss", "someday", SECRET, "sk_live", "token-of")


@dataclass
class Told:
    """A shop whose failures are told to a mail server and a webhook. `answers`: what the vendor says to a business in
    place of its sales."""

    shop: Shop
    office: Office
    hook: list[str] = field(default_factory=list)
    answers: dict[str, Response] = field(default_factory=dict)

    def cycle(self, **scope: Any) -> CycleReport:
        """A cycle for which nobody waits any more."""
        self.shop.now += timedelta(hours=13)
        return run_cycle(self.shop.installation, Scope(patience=0.2, **scope))

    def waiting(self) -> list[dict[str, Any]]:
        with closing(index.connect(self.shop.installation.catalogue.dsn)) as conn:
            return outbox.waiting(conn)

    def news(self) -> list[str]:
        """Mails since the last time: subject and body. Nobody's data is in any of them, nor in what the webhook got."""
        texts = self.office.texts()
        for text in [*texts, *self.hook]:
            assert not [planted for planted in PLANTED if planted.lower() in text.lower()], text
        assert len(self.hook) == len(texts)
        self.office.mails.clear()
        self.hook.clear()
        return texts

    def take(self, request: Request) -> Response:
        self.hook.append(request.get_json()["text"])
        return Response("ok")

    def answer(self, request: Request) -> Response:
        business = request.headers["Authorization"].removeprefix("Bearer ").removesuffix(f"-{SECRET}")
        request.environ["HTTP_AUTHORIZATION"] = f"Bearer {business}"
        return self.answers.get(business) or self.shop.answer(request)


def secret_of(shop: Shop, source: str) -> Path:
    """The file of a source's credential."""
    return Path((shop.installation.catalogue.source(source).secret_ref or "").removeprefix("file:"))


def moment(shop: Shop) -> str:
    return (shop.now + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
