"""A cursor stands no later than the vendor's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingestion import index
from ingestion.cursors import Span
from ingestion.vendor_clock import told, within
from tests.ingestion.conftest import ITEMS, NOW, SALES, make_spec

STREAM = make_spec(SALES, ITEMS).stream("sales")
LAG = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("headers", "moment"),
    [
        ({"Date": "Mon, 10 Mar 2025 12:00:00 GMT"}, NOW),
        ({"Date": "Mon, 10 Mar 2025 12:00:00 -0000"}, NOW),
        ({"Date": "soon"}, None),
        ({}, None),
    ],
)
def test_what_the_vendor_says(headers: dict[str, str], moment: datetime | None) -> None:
    assert told(headers) == moment


def at(said: datetime) -> dict[str, str]:
    return {"Date": said.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")}


@pytest.mark.parametrize("behind", [timedelta(minutes=2), timedelta(hours=3), timedelta(days=900)])
def test_a_window_that_ends_in_the_vendors_future_is_resumed_at_its_present(behind: timedelta) -> None:
    span = Span(NOW - timedelta(days=1), NOW, NOW - LAG)
    assert within(span, STREAM, at(NOW - behind)).resume == NOW - behind - LAG


@pytest.mark.parametrize("headers", [{}, at(NOW), at(NOW - timedelta(seconds=59)), at(NOW + timedelta(days=900))])
def test_else_it_stays(headers: dict[str, Any]) -> None:
    span = Span(NOW - timedelta(days=1), NOW, NOW - LAG)
    assert within(span, STREAM, headers) == span
    whole = Span(None, None, NOW)
    assert within(whole, make_spec(ITEMS).stream("items"), at(NOW - timedelta(days=9))) == whole


@pytest.mark.parametrize(("due_at", "is_due"), [(-1, True), (5, False), (19, False), (21, True), (600_000, True)])
def test_what_is_due_further_ahead_than_can_be_is_due(due_at: int, is_due: bool) -> None:
    assert index.is_due(NOW + timedelta(minutes=due_at), timedelta(minutes=10), NOW) == is_due
