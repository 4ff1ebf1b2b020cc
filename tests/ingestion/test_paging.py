"""Numbered pages: all of them, whatever their number and the guess from the window before."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.http import Client, Request
from ingestion.page import Page
from ingestion.paging import Pager
from ingestion.spec import PageNumberPaging


def numbered(records: list[int], size: int, asked: list[int], shrink_at: Mapping[int, int]) -> Client:
    """A vendor whose record at a place is changed (leaves the window) at the n-th request."""

    def send(request: Request) -> Page:
        asked.append(int(request.params["page"]))
        place = shrink_at.get(len(asked))
        if place is not None and records:
            records.pop(place % len(records))
        start = (asked[-1] - 1) * size
        return Page(json.dumps(records[start : start + size]).encode(), {}, "url", "again")

    return cast(Client, SimpleNamespace(send=send))


def count(page: Page) -> int:
    return len(json.loads(page.body))


@pytest.mark.fault(15)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=4),
    st.integers(1, 5),
    st.dictionaries(st.integers(1, 40), st.integers(0, 100), max_size=4),
)
def test_every_record_that_stays_is_read(totals: list[int], size: int, shrink_at: dict[int, int]) -> None:
    asked: list[int] = []
    pager: Pager | None = None
    for total in totals:
        records = list(range(total))
        asked.clear()
        client = numbered(records, size, asked, shrink_at)
        if pager is None:
            pager = Pager(client, PageNumberPaging(type="page_number", size=size), count, "again")
        pager._client = client
        read: set[Any] = set()
        for page in pager.pages(Request("GET", "url")):
            read.update(json.loads(page.body))
        assert read >= set(records)


def test_a_steady_trade_costs_few_requests_more_than_it_has_pages() -> None:
    asked: list[int] = []
    client = numbered(list(range(1750)), 100, asked, {})
    pager = Pager(client, PageNumberPaging(type="page_number", size=100), count, "again")
    list(pager.pages(Request("GET", "url")))
    asked.clear()
    list(pager.pages(Request("GET", "url")))
    assert len(asked) <= 18 + 3


@pytest.mark.fault(15)
@given(st.integers(1, 25), st.integers(1, 5), st.dictionaries(st.integers(2, 20), st.integers(0, 24), max_size=1))
def test_read_both_ways_a_record_that_another_pushes_along_is_not_missed(
    total: int, size: int, jump_at: dict[int, int]
) -> None:
    records = list(range(total))
    asked: list[int] = []

    def send(request: Request) -> Page:
        asked.append(int(request.params["page"]))
        place = jump_at.get(len(asked))
        if place is not None:
            records.insert(0, records.pop(place % len(records)))
        start = (asked[-1] - 1) * size
        return Page(json.dumps(records[start : start + size]).encode(), {}, "url", "again")

    client = cast(Client, SimpleNamespace(send=send))
    pager = Pager(client, PageNumberPaging(type="page_number", size=size), count, "again", both_ways=True)
    read: set[Any] = set()
    for page in pager.pages(Request("GET", "url")):
        read.update(json.loads(page.body))
    assert read == set(records)
