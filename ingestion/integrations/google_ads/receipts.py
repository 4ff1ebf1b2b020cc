"""What Google's own reports add up to, for reconciliation.

Read from Google's definitions of the metrics alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from reconcile.model import Amount, Record, Sites

COUNTS = ("impressions", "clicks")
FINEST = Decimal("0.0001")
"""Google counts millionths of money and shares of a conversion; a row of the facts holds four decimals."""


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Cost, impressions and clicks, and the purchases Google claims, by date of the ads account.

    A day is the account's own, so neither `sites` nor `now` has a say. Every campaign counts, mapped to a site or not.
    Of the conversions only the category PURCHASE is a purchase.
    """
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for row in records.get("daily", ()):
        day, metrics, currency = _day(row), row["metrics"], row["customer"]["currencyCode"]
        totals[day, currency, "spend"] += _rounded(Decimal(metrics["costMicros"]).scaleb(-6))
        for measure in COUNTS:
            totals[day, "", measure] += Decimal(metrics[measure])
    for row in records.get("purchases", ()):
        if row["segments"]["conversionActionCategory"] != "PURCHASE":
            continue
        day, metrics, currency = _day(row), row["metrics"], row["customer"]["currencyCode"]
        totals[day, "", "claimed_purchases"] += _rounded(metrics["conversions"])
        totals[day, currency, "claimed_purchase_value"] += _rounded(metrics["conversionsValue"])
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _day(row: Record) -> date:
    return date.fromisoformat(row["segments"]["date"])


def _rounded(value: Any) -> Decimal:
    return Decimal(value).quantize(FINEST, ROUND_HALF_UP)
