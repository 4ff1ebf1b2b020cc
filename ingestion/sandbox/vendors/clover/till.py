"""The Philadelphia shop's trade as Clover comes to know it, order by order.

Plain orders carry the dataset's own lines, tax and total. Of the others `externalReferenceId` begins with `synthetic-`
and names what was added. Shares are of all orders; those told daily (see `story.py`) come on top:

    refund          0.6 %  days later: a line, an amount only, all with the tip, or one that the bank refuses
    manual refund   0.1 %  a credit, with an order of its own that is no sale
    tip             1 %    on the card; as often written down on the next morning, which changes the payment
    discount        0.8 %  10 % off the order; a coupon of two dollars 0.4 %; a quarter off the first line 0.6 %
    modification    2 %    extra cheese on the first line
    service charge  0.2 %  for packing; as often a gratuity
    gift card       0.4 %  sold along with the meal; 0.2 % are paid with one
    exchange        0.2 %  the last line is exchanged for another of its kind
    declined        0.2 %  a card is refused before it is taken
    void payment    0.2 %  the card's payment is voided, and cash taken
    void line       0.8 %  the last line is taken off before payment
    deleted         0.3 %  the order is taken back before payment
    left open       0.4 %  a tab that is paid 20 hours later
    catering        0.1 %  one with more than a hundred lines
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from ingestion.sandbox.data import Order
from ingestion.sandbox.story import Story, in_the_morning
from ingestion.sandbox.timeline import State
from ingestion.sandbox.trade import between
from ingestion.sandbox.vendors.clover.check import check
from ingestion.sandbox.vendors.clover.orders import Known, manual_refund_record, order_record, voided_record
from ingestion.sandbox.vendors.clover.payments import (
    Paid,
    credit_record,
    handed_out,
    payment_record,
    payments,
    refund_record,
)
from ingestion.sandbox.vendors.clover.writing import cid

SHARES = {
    "refund_line": 3,
    "refund_amount": 1,
    "refund_all": 1,
    "refund_refused": 1,
    "manual_refund": 1,
    "tip": 10,
    "tip_later": 10,
    "discount": 8,
    "coupon": 4,
    "line_discount": 6,
    "modification": 20,
    "service_charge": 2,
    "gratuity": 2,
    "gift_card": 4,
    "gift_tender": 2,
    "exchange": 2,
    "declined": 2,
    "void_payment": 2,
    "void_line": 8,
    "deleted": 3,
    "left_open": 4,
    "catering": 1,
}
DAILY = (
    ("refund_line", "refund_amount", "refund_all", "manual_refund"),
    ("tip_later",),
    ("left_open", "deleted"),
    ("catering",),
)
TWO_LINES = frozenset({"void_line"})
PENDING = timedelta(minutes=10)
"""A refund is PENDING so long."""
LIVE, DELETED = "live", "deleted"


@dataclass
class Till:
    """What orders leave behind at Clover. A state's group is what lists are apart by."""

    orders: list[State] = field(default_factory=list)
    voided_lines: list[State] = field(default_factory=list)
    payments: list[State] = field(default_factory=list)
    refunds: list[State] = field(default_factory=list)
    credits: list[State] = field(default_factory=list)

    def ring(self, order: Order, story: Story, rate: Decimal) -> None:
        """Everything Clover will ever say of an order of the dataset, each state with the time it is known from."""
        taken, closed = order.instant, order.instant + timedelta(seconds=between(20, 240, order.id, "served"))
        known = Known(order, story, rate, taken, check(order, story, rate, closed=False, tipped=False))
        if story.kind in ("left_open", "deleted", "void_line"):
            self._order(known)
        if story.kind == "deleted":
            gone = in_the_morning(order) if story.next_day else closed
            return self._delete(replace(known, modified=gone, deleted=True))
        if story.kind == "left_open":
            closed = taken + timedelta(hours=20)
        known = self._close(replace(known, check=check(order, story, rate, tipped=False)), closed)
        paid = payments(order, story.kind, known.check)
        for one in paid:
            self._payment(known, one, closed, closed)
        later = closed + timedelta(hours=between(3, 24 * 6, order.id, "later"))
        later = in_the_morning(order) if story.next_day else later
        match story.kind:
            case "tip_later":
                tipped = replace(known, check=check(order, story, rate), modified=in_the_morning(order))
                self._order(tipped)
                for one in payments(order, story.kind, tipped.check):
                    self._payment(tipped, one, closed, tipped.modified)
            case "declined":
                refused = replace(paid[0], id=cid("declined payment", order.id))
                at = closed - timedelta(seconds=10)
                self._payment(known, refused, at, at, "FAIL")
            case "void_payment":
                void, again = closed + timedelta(minutes=3), closed + timedelta(minutes=4)
                self._payment(known, paid[0], closed, void, "VOIDED")
                cash = replace(paid[0], id=cid("second payment", order.id), tender="cash")
                self._payment(known, cash, again, again)
                self._order(replace(known, modified=again))
            case "refund_line" | "refund_amount" | "refund_all" | "refund_refused":
                self._refund(known, paid[0], later)
            case "manual_refund":
                cents, key = handed_out(order), cid("manual refund", order.id)
                self.orders.append(State(later, key, LIVE, partial(manual_refund_record, order, later, cents)))
                self.credits.append(
                    State(later, cid("credit", order.id), "", partial(credit_record, order, later, cents))
                )

    def _order(self, known: Known) -> None:
        group = DELETED if known.deleted else LIVE
        self.orders.append(State(known.modified, known.id, group, partial(order_record, known)))

    def _payment(self, known: Known, paid: Paid, taken: datetime, modified: datetime, result: str = "SUCCESS") -> None:
        record = partial(payment_record, known, paid, taken, modified, result)
        self.payments.append(State(modified, paid.id, "", record))

    def _close(self, known: Known, closed: datetime) -> Known:
        """The order is paid, without what was taken off it."""
        closed_order = replace(known, modified=closed, payment_state="PAID")
        self._order(closed_order)
        for rung in known.check.voided:
            record = partial(voided_record, known, rung, closed, "Entered by mistake")
            self.voided_lines.append(State(closed, cid("line", rung.line.id), "", record))
        return closed_order

    def _delete(self, known: Known) -> None:
        """The order is taken back before payment, and all its lines with it."""
        self._order(known)
        for rung in known.check.rung:
            record = partial(voided_record, known, rung, known.modified, "Guest left")
            self.voided_lines.append(State(known.modified, cid("line", rung.line.id), "", record))

    def _refund(self, known: Known, paid: Paid, at: datetime) -> None:
        """A refund, at first pending; with it the order and its lines say that they came back."""
        sold = [cid("line", rung.line.id) for rung in known.check.sold]
        back = {"refund_line": sold[:1], "refund_all": sold}.get(known.story.kind, [])
        refused = known.story.kind == "refund_refused"
        state = "PAID" if refused else "REFUNDED" if known.story.kind == "refund_all" else "PARTIALLY_REFUNDED"
        after = replace(known, modified=at + PENDING, payment_state=state, refunded=frozenset(back))
        self._order(after)
        for since, status in ((at, "PENDING"), (at + PENDING, "FAIL" if refused else "SUCCESS")):
            self.refunds.append(
                State(since, cid("refund", known.order.id), "", partial(refund_record, after, paid, at, status))
            )
