"""What the reviews on Google add up to, for reconciliation.

Read from Google's definition of a review alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant

STARS = {"ONE": 1, "TWO": 2, "THREE": 3, "FOUR": 4, "FIVE": 5}


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Reviews, their stars, and how many the business answered, by the business date on which each was written.

    A review's name begins with that of its location, of which Google tells no time zone. One without stars counts, with
    none.
    """
    totals: dict[tuple[date, str], int] = defaultdict(int)
    for review in records.get("reviews", ()):
        _, _, *site, _, _ = review["name"].split("/")
        day = sites.settled_date("/".join(site), instant(review["createTime"]))
        totals[day, "reviews"] += 1
        totals[day, "stars"] += STARS.get(review.get("starRating", ""), 0)
        totals[day, "reviews_answered"] += "updateTime" in review.get("reviewReply", {})
    for (day, measure), amount in totals.items():
        yield Amount(day, "", measure, Decimal(amount))
