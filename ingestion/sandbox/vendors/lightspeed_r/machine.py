"""The coffee machine's trade as Lightspeed comes to know it.

Plain sales are the dataset's: one cup, its price with 20 % VAT inside, cash or card. The others bear a
`referenceNumber` that begins with `synthetic-` and names what was added. Shares are of all cups; those told daily (see
`story.py`) come on top:

    syrup          3 %    a second line
    line discount  2.5 %  10 % off the cup
    sale discount  1 %    five hryvnias off cup and syrup together
    tip            1 %    on the card
    slow           2 %    seen as a cart for a quarter of an hour before it is paid
    refund         0.8 %  days later, a sale of its own with a line of negative quantity, tip and discount given back
    unlinked       0.3 %  the same, but the till was not told which cup it was
    exchange       0.4 %  a cup comes back and another goes out in one sale; the difference is paid or given back
    void           0.5 %  the next morning
    gift sold      0.6 %  a gift card, a sale of its own; as many cups are paid with one, in part
    deposit        0.2 %  laid on a customer's credit account
    declined       0.4 %  a card payment is archived before cash is taken
    cart           6 %    begun beside it and never completed, some with a payment; 0.5 % archived an hour later
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

from ingestion.sandbox.data import Order, Product
from ingestion.sandbox.money import apportioned
from ingestion.sandbox.story import Story, in_the_morning, tell
from ingestion.sandbox.trade import between, draw
from ingestion.sandbox.vendors.lightspeed_r.sale import Line, Payment, PaymentKind, Sale

SHARES = {
    "syrup": 30,
    "line_discount": 25,
    "sale_discount": 10,
    "tip": 10,
    "slow": 20,
    "refund": 8,
    "unlinked": 3,
    "exchange": 4,
    "void": 5,
    "gift_sold": 6,
    "gift_tender": 6,
    "deposit": 2,
    "declined": 4,
    "cart": 60,
    "archived_cart": 5,
}
DAILY = (("refund", "exchange", "unlinked"), ("void",), ("line_discount", "gift_sold", "sale_discount", "tip"))
BESIDE = frozenset({"gift_sold", "deposit", "cart", "archived_cart"})  # happen beside the cup, not to it
SYRUP = Product("syrup", "Vanilla syrup", "extra", 1000)
TIP, OFF_SALE, GIFT_CARD, DEPOSIT = 1000, 500, 20_000, 50_000
TENTH = Decimal("0.1")
MACHINE, KEEPER = 1, 2  # employees: who is logged in at the machine, and who gives money back
QUARTER = timedelta(minutes=15)


def sales(orders: Sequence[Order]) -> list[Sale]:
    """Every sale and cart there ever will be, numbered as they are begun. Lines and payments are numbered too, from 1
    as well: a line's number may be that of another sale."""
    told, plain = tell(orders, "lightspeed_r", SHARES, DAILY, fewest_lines=1), Story()
    found = [sale for order in orders for sale in _of(order, told.get(order.id, plain), orders)]
    found.sort(key=lambda sale: (sale.created, sale.order, sale.kind))
    lines, payments = count(1), count(1)
    for number, sale in enumerate(found, 1):
        sale.number = number
        for line in sale.lines:
            line.number = next(lines)
        for payment in sale.payments:
            payment.number = next(payments)
    return found


def _of(order: Order, story: Story, orders: Sequence[Order]) -> Iterator[Sale]:
    at = order.instant.replace(microsecond=0)  # Lightspeed writes whole seconds
    cup = Line(order.lines[0].product, order.lines[0].product.price)
    kind = "plain" if story.kind in BESIDE else story.kind
    sale = Sale(kind, at, at, [cup], employee=MACHINE, order=order.id)
    match kind:
        case "syrup":
            sale.lines.append(Line(SYRUP, SYRUP.price))
        case "line_discount":
            cup.percent_off = TENTH
        case "sale_discount":
            sale.lines.append(Line(SYRUP, SYRUP.price))
            for line, off in zip(sale.lines, apportioned(OFF_SALE, [line.price for line in sale.lines]), strict=True):
                line.off_sale = off
        case "slow":
            sale.created, sale.shows_as_cart = at - QUARTER, True
        case "void":
            sale.voided = in_the_morning(order).replace(microsecond=0)
        case "refund" if draw(order.id, "dear") < 0.5:
            cup.percent_off = TENTH
    sale.payments = _paid(sale, order)
    yield sale
    yield from _aftermath(sale, order, story, orders)
    yield from _beside(order, story, at)


def _paid(sale: Sale, order: Order) -> list[Payment]:
    due = int(sale.total.scaleb(2))
    kind: PaymentKind = "cash" if order.tender == "cash" else "credit card"
    match sale.kind:
        case "tip":
            return [Payment("credit card", due + TIP, TIP)]
        case "refund" if order.tender == "card":
            return [Payment(kind, due + TIP, TIP)]
        case "declined":
            return [Payment("credit card", due, archived=True), Payment("cash", due)]
        case "gift_tender":
            return [Payment("gift card", due // 2, account=_account(order)), Payment(kind, due - due // 2)]
    return [Payment(kind, due)]


def _aftermath(sale: Sale, order: Order, story: Story, orders: Sequence[Order]) -> Iterator[Sale]:
    """What comes back, days later or the next morning."""
    if sale.kind not in ("refund", "unlinked", "exchange"):
        return
    later = timedelta(hours=between(3, 24 * 6, order.id, "refund"))
    at = (in_the_morning(order) if story.next_day else order.instant + later).replace(microsecond=0)
    back = Sale(sale.kind, at, at, employee=KEEPER, order=order.id)
    back.lines = [line.returned(told=sale.kind != "unlinked") for line in sale.lines]
    first = sale.payments[0]
    if sale.kind == "exchange":
        other = orders[between(0, len(orders) - 1, order.id, "other")].lines[0].product
        back.lines.append(Line(other, other.price))
    due = int(back.total.scaleb(2)) - first.tip
    if due:
        back.payments = [Payment(first.kind, due, -first.tip, of=first if due < 0 else None)]
    yield back


def _beside(order: Order, story: Story, at: datetime) -> Iterator[Sale]:
    """Sales and carts of their own, begun a minute after the cup."""
    at += timedelta(minutes=1)
    if story.kind == "gift_sold":
        line = Line(None, 0, note="Gift Card Purchase")
        laid = Payment("gift card", -GIFT_CARD, account=_account(order), sold_as=line)
        yield Sale("gift_sold", at, at, [line], [laid, Payment("cash", GIFT_CARD)], employee=KEEPER, order=order.id)
    elif story.kind == "deposit":
        laid = Payment("credit account", -DEPOSIT, account=_account(order))
        yield Sale("deposit", at, at, [], [laid, Payment("credit card", DEPOSIT)], employee=KEEPER, order=order.id)
    elif story.kind in ("cart", "archived_cart"):
        product = order.lines[0].product
        cart = Sale(story.kind, at, None, [Line(product, product.price)], shows_as_cart=True, order=order.id)
        if draw(order.id, "emptied") < 0.2:
            cart.lines = []
        elif draw(order.id, "paid") < 0.3:
            cart.payments = [Payment("cash", product.price)]
        if story.kind == "archived_cart":
            cart.archived = at + timedelta(hours=1)
        yield cart


def _account(order: Order) -> int:
    return between(1, 40, order.id, "account")
