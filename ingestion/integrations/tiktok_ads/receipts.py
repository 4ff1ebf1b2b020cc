"""What TikTok's own reports add up to, for reconciliation.

Read from TikTok's definitions of the metrics alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from reconcile.model import Amount, Record, Sites

COUNTS = {"impressions": "impressions", "clicks": "clicks", "claimed_purchases": "complete_payment"}
MONEY = {"spend": "spend", "claimed_purchase_value": "total_complete_payment_rate"}


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Spend, impressions and clicks, and the purchases TikTok claims, by date of the ad account.

    A day is the account's own, so neither `sites` nor `now` has a say. Every campaign counts, mapped to a site or not.
    Amounts are in the currency of the account that the report was asked of. Purchases are those on the website
    (`complete_payment`; `total_complete_payment_rate` is their value, whatever its name): `conversion` counts whatever
    a campaign is optimised for.
    """
    currencies = {str(account["advertiser_id"]): account["currency"] for account in records.get("advertisers", ())}
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for row in records.get("daily", ()):
        day = datetime.fromisoformat(row["dimensions"]["stat_time_day"]).date()
        metrics, currency = row["metrics"], currencies[row["_context"]["advertiser_id"]]
        for measure, metric in COUNTS.items():
            totals[day, "", measure] += Decimal(metrics.get(metric, 0))
        for measure, metric in MONEY.items():
            totals[day, currency, measure] += Decimal(metrics.get(metric, 0))
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)
