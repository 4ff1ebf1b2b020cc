"""What Lightspeed's own sales add up to, for reconciliation.

Read from Lightspeed's definitions of Sale, SaleLine and SalePayment alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from reconcile.hours import DAY_START
from reconcile.model import Amount, Record, Sites
from reconcile.money import rounded
from reconcile.reader import instant

Totals = dict[str, Decimal]
STORED = ("gift card", "credit account")


class Line(NamedTuple):
    """One line as it counts: `total` with tax and after `discount`, which is before tax."""

    number: str
    is_return: bool
    total: Decimal
    tax: Decimal
    discount: Decimal


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Money and counts by business date: of completed sales on the date of completion, returns on their own."""
    zones = {shop["shopID"]: shop.get("timeZone") or "UTC" for shop in records.get("shops", ())}
    voided = {sale["saleID"] for sale in records.get("voided_sales", ())}
    totals: dict[date, Totals] = defaultdict(lambda: defaultdict(Decimal))
    for sale in records.get("sales", ()):
        if sale["completed"] != "true" or sale.get("archived") == "true":
            continue
        shop = sale["shopID"]
        done = instant(sale.get("completeTime") or sale["timeStamp"])
        into = totals[sites.business_date(shop, done, zones.get(shop, "UTC"), DAY_START)]
        lines = _lines(sale, sites.currency)
        if sale.get("voided") == "true" or sale["saleID"] in voided:
            into["void_amount"] += sum((x.total - x.tax + x.discount for x in lines if not x.is_return), Decimal(0))
        else:
            _sale(sale, lines, into)
    for day, sums in totals.items():
        for measure, amount in sums.items():
            yield Amount(day, sites.currency, measure, amount)


def _sale(sale: Record, lines: Sequence[Line], into: Totals) -> None:
    sold, back = [x for x in lines if not x.is_return], [x for x in lines if x.is_return]
    payments = [p for p in _children(sale, "SalePayments", "SalePayment") if p.get("archived") != "true"]
    takes_money = _number(sale, "calcTotal") >= 0
    laid = [p for p in payments if _number(p, "amount") < 0 and takes_money and p["PaymentType"]["type"] in STORED]
    paid = [p for p in payments if p not in laid]
    if sold or laid or not back:
        into["order_count"] += 1
    named = {_account(p) for p in laid} & {line.number for line in sold}
    into["line_count"] += len(sold) + sum(1 for p in laid if _account(p) not in named)
    into["gift_card_sold"] -= sum((_number(p, "amount") for p in laid), Decimal(0))
    for line in sold:
        into["gross_sales"] += line.total - line.tax + line.discount
        into["discount"] += line.discount
        into["tax"] += line.tax
    for line in back:
        into["returns"] -= line.total - line.tax
        into["tax"] += line.tax
    given = [p for p in paid if _number(p, "amount") < 0 and back]
    tip_back = -sum((_number(p, "tipAmount") for p in given), Decimal(0))
    into["tip"] += sum((_number(p, "tipAmount") for p in paid), Decimal(0))
    # What came back is a refund of its worth; what of it was not paid out went towards the goods of an exchange.
    worth = tip_back - sum((line.total for line in back), Decimal(0))
    into["refunds"] += worth
    into["payments"] += worth + sum((_number(p, "amount") for p in paid), Decimal(0))


def _lines(sale: Record, currency: str) -> list[Line]:
    """The lines rounded; what they then lack of the sale's own totals is with the largest."""
    found = _children(sale, "SaleLines", "SaleLine")
    lines = [
        Line(
            x["saleLineID"],
            _number(x, "unitQuantity") < 0,
            rounded(_number(x, "calcTotal"), currency),
            rounded(_number(x, "calcTax1") + _number(x, "calcTax2"), currency),
            rounded(_number(x, "calcLineDiscount") + _number(x, "calcTransactionDiscount"), currency),
        )
        for x in found
    ]
    if lines:
        n = max(range(len(lines)), key=lambda n: (abs(_number(found[n], "calcTotal")), -n))
        lines[n] = lines[n]._replace(
            total=lines[n].total + _number(sale, "calcTotal") - sum(x.total for x in lines),
            tax=lines[n].tax + _number(sale, "calcTax1") + _number(sale, "calcTax2") - sum(x.tax for x in lines),
            discount=lines[n].discount + _number(sale, "calcDiscount") - sum(x.discount for x in lines),
        )
    return lines


def _children(record: Record, relation: str, element: str) -> list[Record]:
    """One child is an object, several are an array, none is absent or an empty text."""
    found = (record.get(relation) or {}).get(element) or []
    return found if isinstance(found, list) else [found]


def _account(payment: Record) -> str:
    """The line that a gift card was sold as."""
    account = (payment.get("SaleAccounts") or {}).get("SaleAccount") or {}
    return str(account.get("saleLineID", "0"))


def _number(record: Record, field: str) -> Decimal:
    return Decimal(record.get(field) or 0)
