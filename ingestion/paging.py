"""The pages of one request, whatever the vendor's way of paging, with loops and shifts under control."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from ingestion.errors import ShapeError
from ingestion.http import Client, Request
from ingestion.page import Page
from ingestion.spec import (
    CursorPaging,
    NextUrlPaging,
    OffsetPaging,
    PageNumberPaging,
    Paging,
    SinglePage,
    TokenHeaderPaging,
)

MAX_PAGES = 100_000
_LONG = 1000  # pages of one window, after which it is looked whether there are still records on them
_EMPTY = 100  # pages without a record, one after the other, that are taken for no end


class TooManyError(Exception):
    """The answer goes on beyond the offset that the vendor serves: the window is to be read in parts."""


class Pager:
    """Pages of one stream's requests."""

    def __init__(
        self,
        client: Client,
        paging: Paging,
        count: Callable[[Page], int],
        again: str,
        *,
        both_ways: bool = False,
    ) -> None:
        """
        Args:
            count: counts the records of a page.
            again: the command to run after an error.
            both_ways: read numbered pages backwards and forwards, where a record that is not seen is taken for deleted.
        """
        self._client, self._paging, self._count, self._again = client, paging, count, again
        self._both_ways = both_ways
        self._guess = 0  # the last page of the latest window: the next one's is near it

    def pages(self, request: Request) -> Iterator[Page]:
        """Every page of `request`, each exactly once where the vendor keeps still.

        Raises VendorError when the vendor sends the same cursor, URL or numbered page again (a loop would not end),
        TooManyError before a page is yielded, and what `Client.send` raises.
        """
        match self._paging:
            case SinglePage():
                yield self._client.send(request)
            case PageNumberPaging() | OffsetPaging() as paging:
                yield from self._numbered(paging, request)
            case CursorPaging() | NextUrlPaging() | TokenHeaderPaging() as paging:
                yield from self._linked(paging, request)

    def _linked(self, paging: CursorPaging | NextUrlPaging | TokenHeaderPaging, request: Request) -> Iterator[Page]:
        seen: set[bytes] = set()
        empty = 0
        following = request
        while True:
            page = self._client.send(following)
            yield page
            empty = 0 if len(seen) < _LONG or self._count(page) else empty + 1
            if empty == _EMPTY:
                raise self._without_records(page)
            link = _link(paging, page)
            if link is None:
                return
            mark = hashlib.blake2b(link.encode(), digest_size=8).digest()
            if mark in seen or len(seen) == MAX_PAGES:
                raise self._endless(page)
            seen.add(mark)
            match paging:
                case NextUrlPaging():
                    following = replace(self._client.follow(link, request), headers=request.headers)
                case CursorPaging(type="cursor_body"):
                    following = replace(request, body={**(request.body or {}), paging.send_as: link})
                case _:
                    following = replace(request, params={**request.params, paging.send_as: link})

    def _numbered(self, paging: PageNumberPaging | OffsetPaging, request: Request) -> Iterator[Page]:
        """Numbered pages, read from the last to the first.

        A record that is changed while its window is read leaves the window, and every later record moves up by one.
        Read forwards, the one that moves from page k+1 to page k is never seen; backwards it is at worst seen twice.
        It is the other way round with a record that is added or moves towards the front: such a one is of a later
        window, but where there are no windows the one that it pushes out of sight must not be missed.
        """
        beyond = MAX_PAGES
        if isinstance(paging, OffsetPaging) and paging.max_offset is not None:
            beyond = paging.max_offset // paging.size + 1  # the first page that the vendor does not serve

        def fetch(number: int) -> Page:
            return self._client.send(_with(request, paging, number))

        first = last = fetch(0)
        told = _told_pages(paging, first)
        if told == 1 or (told is None and self._count(first) < paging.size):
            yield first
            return
        full, short, step = 0, 0, 1  # page `full` is full, page `short` is not; counted from 0
        if told is not None:
            full, short = told - 2, told - 1
            last = fetch(short)
        number = max(self._guess, full + 1)
        while short - full != 1:
            if number >= beyond:
                if full == beyond - 1:
                    raise self._too_many(paging, first)
                number = beyond - 1
            page = fetch(number)
            if page.body == first.body:
                first = fetch(0)  # what was on it may have moved on meanwhile
                if page.body == first.body:
                    raise self._endless(page)
            if self._count(page) < paging.size:
                short, last = number, page
                number = max(full + 1, short - step)
            else:
                full = number
                number = full + step if not short else (full + short) // 2
            step *= 2
        self._guess = short
        yield last
        page = first
        for number in range(full, -1, -1):
            page = fetch(number)
            yield page
        latest = max(short, (_told_pages(paging, page) or 1) - 1)  # more may have come about meanwhile
        for number in range(1 if self._both_ways else short + 1, latest + 1):
            yield fetch(number)

    def _too_many(self, paging: PageNumberPaging | OffsetPaging, page: Page) -> Exception:
        return TooManyError() if isinstance(paging, OffsetPaging) else self._endless(page)

    def _without_records(self, page: Page) -> ShapeError:
        return ShapeError(
            f"{page.url} names ever another page and has had no records for {_EMPTY}: the pages never end",
            next_command=self._again,
        )

    def _endless(self, page: Page) -> ShapeError:
        return ShapeError(
            f"{page.url} leads back to a page that was already read: the pages never end", next_command=self._again
        )


def _with(request: Request, paging: PageNumberPaging | OffsetPaging, number: int) -> Request:
    """The request of a page, counted from 0."""
    value = number * paging.size if isinstance(paging, OffsetPaging) else paging.first + number
    if paging.send_in == "body":
        return replace(request, body={**(request.body or {}), paging.send_as: value})
    return replace(request, params={**request.params, paging.send_as: str(value)})


def _told_pages(paging: PageNumberPaging | OffsetPaging, page: Page) -> int | None:
    """How many pages there are (1 at least), where the vendor tells."""
    if isinstance(paging, OffsetPaging) or paging.pages is None:
        return None
    text = page.text(paging.pages)
    if text is None or not text.isdigit():
        raise page.malformed(f"it has no number of pages at {paging.pages!r}")
    return max(1, int(text))


def _link(paging: CursorPaging | NextUrlPaging | TokenHeaderPaging, page: Page) -> str | None:
    match paging:
        case CursorPaging():
            return page.text(paging.cursor)
        case NextUrlPaging():
            return page.text(paging.next)
        case TokenHeaderPaging():
            return page.headers.get(paging.header) or None
