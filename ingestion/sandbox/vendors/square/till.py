"""A jaffle shop's trade as Square comes to know it, order by order.

Plain orders carry the dataset's own lines, tax and total. The others bear `metadata.synthetic`, which names what was
added, and `metadata.dataset_order`. Shares are of all orders; those told daily (see `story.py`) come on top:

    refund          0.5 %  days later, a separate return order and a refund: a line, an amount only, or all with the tip
    tip             1 %    on the card payment
    discount        1 %    10 % off the whole order, spread over the lines by Square
    modifier        2 %    extra cheese on the first line
    service charge  0.2 %  a packing fee; as often an automatic gratuity
    gift card       0.4 %  sold along with the meal; 0.2 % are paid with one
    declined        0.2 %  a card is refused before another is taken
    edited          0.3 %  rung up with a line too many, which is taken off on the next day, and the payment with it
    left open       0.4 %  a tab that is closed 20 hours later
    canceled        0.2 %  taken off before payment
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from ingestion.sandbox.data import Order
from ingestion.sandbox.story import Story, in_the_morning
from ingestion.sandbox.timeline import State
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.square.orders import (
    Known,
    OrderState,
    custom_amount,
    location_id,
    order_record,
    return_record,
    returned_line,
    stamp,
)
from ingestion.sandbox.vendors.square.orders import money as money_of
from ingestion.sandbox.vendors.square.payments import GivenBack, declined_record, payment_record, refund_record
from ingestion.sandbox.vendors.square.sale import Paid, payments, sale, token

SHARES = {
    "refund_line": 3,
    "refund_amount": 1,
    "refund_all": 1,
    "tip": 10,
    "discount": 10,
    "modifier": 20,
    "service_charge": 2,
    "auto_gratuity": 2,
    "gift_card": 4,
    "gift_tender": 2,
    "declined": 2,
    "edited": 3,
    "left_open": 4,
    "canceled": 2,
}
DAILY = (("refund_line", "refund_amount", "refund_all"), ("edited",), ("left_open",), ("canceled",))
PENDING = timedelta(minutes=2)
"""A refund is PENDING so long; the return order is there when the money has gone."""


@dataclass
class Till:
    """What orders leave behind at Square."""

    orders: list[State] = field(default_factory=list)
    payments: list[State] = field(default_factory=list)
    refunds: list[State] = field(default_factory=list)

    def ring(self, order: Order, story: Story, rate: Decimal) -> None:
        """Everything Square will ever say of an order of the dataset, each state with the time it is known from."""
        tab = _Tab(order, story, rate, self)
        taken, closed = order.instant, order.instant + timedelta(seconds=between(20, 240, order.id, "served"))
        match story.kind:
            case "canceled":
                tab.state(taken, "OPEN", None, 1)
                gone = in_the_morning(order) if story.next_day else closed
                tab.state(gone, "CANCELED", gone, 2)
            case "left_open":
                closed = taken + timedelta(hours=20)
                tab.state(taken, "OPEN", None, 1)
                tab.pay(tab.state(closed, "COMPLETED", closed, 2))
            case "edited":
                tab.pay(tab.state(closed, "COMPLETED", closed, 2, corrected=False))
                edited = in_the_morning(order) if story.next_day else closed + timedelta(days=1, hours=1)
                tab.pay(tab.state(edited, "COMPLETED", closed, 3))
            case "refund_line" | "refund_amount" | "refund_all":
                known = tab.state(closed, "COMPLETED", closed, 2)
                paid = tab.pay(known)
                later = closed + timedelta(hours=between(3, 24 * 6, order.id, "refund"))
                tab.refund(known, paid[0], in_the_morning(order) if story.next_day else later)
            case _:
                tab.pay(tab.state(closed, "COMPLETED", closed, 2))


@dataclass(frozen=True)
class _Tab:
    """One order on its way."""

    order: Order
    story: Story
    rate: Decimal
    till: Till

    def state(
        self, since: datetime, state: OrderState, closed: datetime | None, version: int, *, corrected: bool = True
    ) -> Known:
        """From `since` on the order is in `state`."""
        sold = sale(self.order, self.story, self.rate, corrected=corrected, closed=state == "COMPLETED")
        known = Known(self.order, self.story, self.rate, since, state, closed, version, sold)
        site = location_id(self.order.site)
        self.till.orders.append(State(since, known.id, site, partial(order_record, known)))
        return known

    def pay(self, known: Known) -> list[Paid]:
        """The payments of an order, as of its latest state."""
        paid = payments(self.order, self.story, known.sold)
        site = location_id(self.order.site)
        for one in paid:
            self.till.payments.append(State(known.updated, one.id, site, partial(payment_record, known, one)))
        if self.story.kind == "declined" and known.closed:
            key = token("declined payment", self.order.id)
            at = known.closed - timedelta(seconds=10)
            self.till.payments.append(State(at, key, site, partial(declined_record, known, paid[0])))
        return paid

    def refund(self, known: Known, paid: Paid, at: datetime) -> None:
        """A refund, and the order of its return."""
        site, gone = location_id(self.order.site), at + PENDING
        amount_only = self.story.kind == "refund_amount"
        refund = refund_record(known, paid, at, "Accidental charge" if amount_only else "Returned goods")
        items = order_record(known)["line_items"]
        first = items[0]["total_money"]["amount"]
        tip = paid.tip if self.story.kind == "refund_all" else 0
        match self.story.kind:
            case "refund_amount":
                lines = [custom_amount(f"{items[0]['uid']}-r", max(100, first // 2))]
            case "refund_line":
                lines = [returned_line(items[0])]
            case _:
                lines = [returned_line(item) for item in items]
        cents = sum(line["total_money"]["amount"] for line in lines) + tip

        def as_of(status: Literal["PENDING", "COMPLETED"], updated: datetime) -> dict[str, Any]:
            return {**refund, "status": status, "amount_money": money_of(cents), "updated_at": stamp(updated)}

        self.till.refunds.append(State(at, refund["id"], site, partial(as_of, "PENDING", at)))
        self.till.refunds.append(State(gone, refund["id"], site, partial(as_of, "COMPLETED", gone)))
        self.till.orders.append(
            State(gone, refund["order_id"], site, partial(return_record, known, at, gone, refund, lines, tip))
        )
        back = GivenBack(refund["id"], gone, cents)
        self.till.payments.append(State(gone, paid.id, site, partial(payment_record, known, paid, back)))
