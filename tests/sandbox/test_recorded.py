"""The recorded pages are what the sandbox serves."""

from __future__ import annotations

from ingestion.sandbox.data import Trade
from tests.sandbox.recorded import FIXTURES, pages, text


def test_recorded_pages_are_fresh(whole_trade: Trade) -> None:
    stale = [name for name, page in pages(whole_trade).items() if (FIXTURES / f"{name}.json").read_text() != text(page)]
    assert stale == [], "python -m tests.sandbox.recorded"
