"""larder report: the last week of each location, sales beside labour and spend."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.ids import id_range
from sharding.query import read_only

DAYS = 7
# The placeholders are whole numbers: the ids of a business are a range.
_WEEK = """
    select l.location_name, d.business_date, d.currency, d.order_count, d.gross_sales, d.discount, d.returns,
        d.net_sales, d.total_collected, d.labour_hours, d.labour_cost, d.labour_pct, d.allocated_spend,
        d.is_provisional, d.has_quarantine
    from {marts}.sum_location_day as d
    inner join {marts}.dim_location as l using (location_id)
    where d.location_id between %d and %d
        and d.business_date > (select max(business_date) - %d from {marts}.sum_location_day
                               where location_id between %d and %d)
    order by l.location_name, d.business_date
"""
_UNALLOCATED = """
    select sum(spend), sum(unallocated_spend), min(currency) from {marts}.sum_marketing_day
    where business_id between %d and %d
        and business_date > (select max(business_date) - %d from {marts}.sum_marketing_day
                             where business_id between %d and %d)
"""


def report(
    business: Annotated[str | None, typer.Option(help="One business; default: all.")] = None,
    days: Annotated[int, typer.Option(help="How many days, to the newest one.", min=1)] = DAYS,
    json: JsonFlag = False,
) -> None:
    """The last days of each location: sales beside labour and spend."""
    report_week(Output(json), business, days)


def report_week(out: Output, business: str | None = None, days: int = DAYS) -> None:
    """Print the report of one business or of all."""
    context = get_context()
    catalogue = context.catalogue
    for one in [catalogue.business(business)] if business else catalogue.businesses():
        shard = catalogue.shard(one.shard)
        ids = id_range(one.id)
        week = read_only(shard, _WEEK % (*ids, days, *ids))
        lines = [_line(dict(zip(week.columns, row, strict=True))) for row in week.rows]
        if out.json:
            out.document({"business": one.name, "days": lines})
            continue
        out.table(lines, f"{one.display_name}: the last {days} days", empty="no days yet; next: larder cycle")
        [(spend, unallocated, currency)] = read_only(shard, _UNALLOCATED % (*ids, days, *ids)).rows
        if unallocated:
            out.say(f"  ad spend of no one location: {money(unallocated)} of {money(spend)} {currency}, not spread")
        if any(line["note"] for line in lines):
            out.say("  * provisional: the day still runs, a punch or an order is open;  ! records in quarantine")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    marks = ("*" if row["is_provisional"] else "") + ("!" if row["has_quarantine"] else "")
    return {
        "location": row["location_name"],
        "date": f"{row['business_date']:%a %Y-%m-%d}",
        "orders": row["order_count"],
        "gross": money(row["gross_sales"]),
        "discount": money(row["discount"]),
        "returns": money(row["returns"]),
        "net": money(row["net_sales"]),
        "collected": money(row["total_collected"]),
        "hours": money(row["labour_hours"]),
        "labour": money(row["labour_cost"]),
        "labour %": None if row["labour_pct"] is None else (row["labour_pct"] * 100).quantize(Decimal("0.1")),
        "spend": money(row["allocated_spend"]),
        "note": marks,
    }


def money(amount: Decimal | None) -> Decimal | None:
    """Two decimals for people; the unknown stays unknown."""
    return None if amount is None else amount.quantize(Decimal("0.01"))
