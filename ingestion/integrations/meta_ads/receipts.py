"""What Meta's own insights add up to, for reconciliation.

Read from Meta's definitions of the insights fields alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from reconcile.model import Amount, Record, Sites

COUNTS = ("impressions", "clicks")


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Spend, impressions and clicks, and what Meta claims to have sold, by date of the ad account.

    A day is the account's own, so neither `sites` nor `now` has a say. Every campaign counts, mapped to a site or not.
    """
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for row in records.get("insights", ()):
        day, currency = date.fromisoformat(row["date_start"]), row["account_currency"]
        totals[day, currency, "spend"] += Decimal(row["spend"])
        totals[day, currency, "claimed_purchase_value"] += _purchases(row.get("action_values"))
        totals[day, "", "claimed_purchases"] += _purchases(row.get("actions"))
        for measure in COUNTS:
            totals[day, "", measure] += Decimal(row.get(measure, 0))
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _purchases(actions: Sequence[Record] | None) -> Decimal:
    """Purchases among the actions: those over all channels where Meta gives them, since they contain the others."""
    by_type = {action["action_type"]: Decimal(action["value"]) for action in actions or ()}
    return by_type.get("omni_purchase", by_type.get("purchase", Decimal(0)))
