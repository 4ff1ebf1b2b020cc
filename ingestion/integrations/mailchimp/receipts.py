"""What Mailchimp's campaign reports add up to, for reconciliation.

Read from Mailchimp's definitions of the report's fields alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconcile.model import Amount, Record, Sites
from reconcile.reader import instant


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Mails sent and what became of them, by the date of sending on the account's calendar.

    A mailing goes to no site, so `sites` has no say. Clicks are guests who clicked (`unique_subscriber_clicks`), not
    links; revenue is what the shop ascribes to a mailing, without tax and shipping (`total_revenue`).
    """
    zones = {account["account_id"]: _zone(account.get("account_timezone")) for account in records.get("account", ())}
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for report in records.get("reports", ()):
        zone = zones.get(report["_context"]["account_id"], UTC)
        day = instant(report["send_time"]).astimezone(zone).date()
        counts = {
            "mails_sent": report["emails_sent"],
            "mails_back": sum(report["bounces"].values()),
            "mails_opened": report["opens"]["unique_opens"],
            "mails_clicked": report["clicks"]["unique_subscriber_clicks"],
            "mails_left": report["unsubscribed"],
        }
        if shop := report.get("ecommerce"):
            counts["mail_orders"] = shop["total_orders"]
            totals[day, shop.get("currency_code", ""), "mail_revenue"] += Decimal(shop["total_revenue"])
        for measure, count in counts.items():
            totals[day, "", measure] += count
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _zone(name: str | None) -> tzinfo:
    """A time zone by its name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
