"""Whose turn it is: sources wait in line, and the next is of the business and vendor that have the least at work.

One tenant with a hundred sources, or one vendor that does not answer, so never has all of the places while anybody
else waits.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from ingestion.source import SourceRef

_LOOK = 64  # into a vendor's line, for a business that has less at work: thousands wait on a busy morning


def in_turn(sources: Iterable[SourceRef]) -> Iterator[SourceRef]:
    """One source of each business, then the second of each, …."""
    lines: dict[int, deque[SourceRef]] = {}
    for source in sources:
        lines.setdefault(source.business, deque()).append(source)
    while lines:
        for business in list(lines):
            yield lines[business].popleft()
            if not lines[business]:
                del lines[business]


class Turns:
    """The line of sources. Not for use by several threads at once: the caller holds a lock."""

    def __init__(self, sources: Iterable[SourceRef]) -> None:
        self._lines: dict[str, deque[SourceRef]] = {}  # by vendor
        self._businesses: Counter[int] = Counter()
        self._vendors: Counter[str] = Counter()
        self._held: set[str] = set()
        self._one_of: set[str] = set()
        for source in in_turn(sources):
            self._join(source)

    def take(self) -> SourceRef | None:
        """The next source; None where nobody is waiting, or all that wait are of vendors that are held."""
        best: tuple[int, int, str, int] | None = None
        for vendor, line in self._lines.items():
            if vendor in self._held:
                continue
            busy, place = min((self._businesses[s.business], i) for i, s in enumerate(islice(line, _LOOK)))
            found = (busy + self._vendors[vendor], self._vendors[vendor], vendor, place)
            if best is None or found[:2] < best[:2]:
                best = found
        if best is None:
            return None
        _, _, vendor, place = best
        chosen = self._lines[vendor][place]
        del self._lines[vendor][place]
        if not self._lines[vendor]:
            del self._lines[vendor]
        self._businesses[chosen.business] += 1
        self._vendors[vendor] += 1
        if vendor in self._one_of:
            self._held.add(vendor)
        return chosen

    def give_back(self, source: SourceRef, *, again: bool) -> None:
        """A source's turn is over; `again`: it has more to do, behind all others of its vendor."""
        self._businesses[source.business] -= 1
        self._vendors[source.integration] -= 1
        if again:
            self._join(source)

    def one_of(self, integration: str) -> None:
        """Take one source of the vendor, and then nobody of it until `release`."""
        self._one_of.add(integration)

    def release(self, integration: str) -> None:
        """All of the vendor may be taken."""
        self._one_of.discard(integration)
        self._held.discard(integration)

    def has(self, integration: str) -> bool:
        """Whether anybody of the vendor waits."""
        return integration in self._lines

    def drop(self, integration: str | None = None) -> list[SourceRef]:
        """Send those of a vendor home, or everybody; returns them."""
        vendors = list(self._lines) if integration is None else [integration]
        return [source for vendor in vendors for source in self._lines.pop(vendor, ())]

    @property
    def empty(self) -> bool:
        """Whether nobody waits."""
        return not self._lines

    def _join(self, source: SourceRef) -> None:
        self._lines.setdefault(source.integration, deque()).append(source)
