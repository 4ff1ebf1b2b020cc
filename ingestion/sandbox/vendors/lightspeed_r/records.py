"""Lightspeed's records: every value a text, booleans and money too; one child is an object, several are a list, none is
left out, and an empty object is an empty text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from ingestion.sandbox.data import Product
from ingestion.sandbox.timeline import State
from ingestion.sandbox.vendors.lightspeed_r.sale import VAT, Line, Payment, Sale, rounded, tax_in, without_tax

PAYMENT_TYPES = {"cash": 1, "credit card": 3, "credit account": 4, "gift card": 5}
DISCOUNT = {"discountID": "1", "name": "Own cup", "discountAmount": "0", "discountPercent": "0.1", "archived": "false"}


def states(sale: Sale, items: dict[str, int]) -> Iterator[State]:
    """The sale as it is shown from its first moment to its last. A state's group is the record's `timeStamp`: of a
    completed sale that stays when it was completed, even when the sale is voided later."""
    key = f"{sale.number:08}"
    if sale.shows_as_cart:
        yield State(sale.created, key, stamp(sale.created), partial(sale_record, sale, items, sale.created))
    if sale.completed:
        yield State(sale.completed, key, stamp(sale.completed), partial(sale_record, sale, items, sale.completed))
    if sale.completed and sale.voided:
        yield State(sale.voided, key, stamp(sale.completed), partial(sale_record, sale, items, sale.voided))
    if sale.archived:
        yield State(sale.archived, key, stamp(sale.archived), partial(sale_record, sale, items, sale.archived))


def sale_record(sale: Sale, items: dict[str, int], at: datetime) -> dict[str, Any]:
    """A sale as it is at `at`."""
    completed = sale.completed is not None and at >= sale.completed
    payments = sale.payments if completed or sale.kind in ("cart", "archived_cart") else []
    kept = [payment for payment in payments if not payment.archived]
    deposits = sum(-p.amount for p in kept if p.account and p.amount < 0)
    net = sale.total - sale.tax
    paid = Decimal(sum(payment.amount for payment in kept)).scaleb(-2)
    record: dict[str, Any] = {
        "saleID": str(sale.number),
        "timeStamp": stamp(sale.completed if completed and sale.completed else at),
        "discountPercent": "0",
        "completed": flag(completed),
        "archived": flag(sale.archived is not None and at >= sale.archived),
        "voided": flag(sale.voided is not None and at >= sale.voided),
        "enablePromotions": "true",
        "isTaxInclusive": "true",
        "createTime": stamp(sale.created),
        "updateTime": stamp(at),
        **({"completeTime": stamp(sale.completed)} if completed and sale.completed else {}),
        "referenceNumber": "" if sale.kind == "plain" else f"synthetic-{sale.kind}-{sale.order}",
        "referenceNumberSource": "",
        "tax1Rate": text(VAT),
        "tax2Rate": "0",
        "change": "0",
        "tipEnabled": "true",
        "receiptPreference": "printed",
        "displayableSubtotal": text(sale.total),
        "ticketNumber": f"2200{sale.number:08}",
        "calcDiscount": text(sale.discount),
        "calcTotal": text(sale.total),
        "calcSubtotal": text(net + sale.discount),
        "calcTaxable": text(net),
        "calcNonTaxable": "0",
        "calcTax1": text(sale.tax),
        "calcTax2": "0",
        "calcPayments": text(paid),
        "calcTips": kopiykas(sum(payment.tip for payment in kept)),
        "total": text(sale.total),
        "totalDue": text(sale.total + Decimal(deposits).scaleb(-2)),
        "displayableTotal": text(sale.total + Decimal(deposits).scaleb(-2)),
        "balance": "0" if completed else text(sale.total - paid),
        "customerID": "0",
        "discountID": "0",
        "employeeID": str(sale.employee),
        "tipEmployeeID": str(sale.employee),
        "quoteID": "0",
        "registerID": "1",
        "shipToID": "0",
        "shopID": "1",
        "taxCategoryID": "1",
        "taxTotal": text(sale.tax),
    }
    record |= children("SaleLines", "SaleLine", [_line(sale, line, items) for line in sale.lines])
    return record | children("SalePayments", "SalePayment", [_payment(sale, payment, at) for payment in payments])


def _line(sale: Sale, line: Line, items: dict[str, int]) -> dict[str, Any]:
    at, discount = stamp(sale.completed or sale.created), line.line_discount + line.sale_discount
    record: dict[str, Any] = {
        "saleLineID": str(line.number),
        "createTime": stamp(sale.created),
        "timeStamp": at,
        "unitQuantity": str(line.quantity),
        "unitPrice": text(without_tax(Decimal(line.price).scaleb(-2))),
        "normalUnitPrice": "0",
        "discountAmount": "0",
        "discountPercent": text(line.percent_off),
        "tax": "true",
        "tax1Rate": text(VAT),
        "tax2Rate": "0",
        "isLayaway": "false",
        "isWorkorder": "false",
        "isSpecialOrder": "false",
        "displayableSubtotal": text(line.gross - discount),
        "displayableUnitPrice": kopiykas(line.price),
        "calcLineDiscount": text(without_tax(line.line_discount)),
        "calcTransactionDiscount": text(without_tax(line.sale_discount)),
        "calcTotal": text(line.total),
        "calcSubtotal": text(without_tax(line.gross)),
        "calcTax1": text(tax_in(line.total)),
        "calcTax2": "0",
        "taxClassID": "1",
        "customerID": "0",
        "discountID": "1" if line.percent_off else "0",
        "employeeID": str(sale.employee),
        "itemID": str(items[line.product.sku]) if line.product else "0",
        "noteID": "0",
        "parentSaleLineID": str(line.parent.number) if line.parent else "0",
        "shopID": "1",
        "saleID": str(sale.number),
    }
    if line.percent_off:
        record["Discount"] = DISCOUNT
    if line.note:
        record["Note"] = {"noteID": str(line.number), "note": line.note, "isPublic": "false", "timeStamp": at}
    if line.product:
        record["Item"] = _item(line.product, items)
    return record


def _payment(sale: Sale, payment: Payment, at: datetime) -> dict[str, Any]:
    record: dict[str, Any] = {
        "salePaymentID": str(payment.number),
        "amount": kopiykas(payment.amount),
        "tipAmount": kopiykas(payment.tip),
        "createTime": stamp(sale.completed or sale.created),
        "archived": flag(payment.archived),
        "remoteReference": "",
        "paymentID": "",
        "saleID": str(sale.number),
        "paymentTypeID": str(PAYMENT_TYPES[payment.kind]),
        "ccChargeID": "0",
        "refPaymentID": str(payment.of.number) if payment.of else "0",
        "registerID": "1",
        "employeeID": str(sale.employee),
        "creditAccountID": str(payment.account),
        "PaymentType": {
            "paymentTypeID": str(PAYMENT_TYPES[payment.kind]),
            "name": payment.kind.title(),
            "requireCustomer": flag(payment.kind == "credit account"),
            "archived": "false",
            "internalReserved": "true",
            "type": payment.kind,
            "refundAsPaymentTypeID": "0",
        },
    }
    if payment.sold_as:
        account = {
            "saleAccountID": str(payment.number),
            "creditAccountID": str(payment.account),
            "salePaymentID": str(payment.number),
            "saleLineID": str(payment.sold_as.number),
        }
        record["SaleAccounts"] = {"SaleAccount": account}
    return record


def item_record(product: Product, items: dict[str, int]) -> dict[str, Any]:
    """An article as Item.json lists it."""
    prices = [
        {"amount": kopiykas(product.price), "useTypeID": "1", "useType": "Default"},
        {"amount": "0", "useTypeID": "2", "useType": "MSRP"},
    ]
    number = {"coffee": "1", "extra": "2"}[product.kind]
    category = {"categoryID": number, "name": product.kind.title(), "nodeDepth": "0", "parentID": "0"}
    return _item(product, items) | {"categoryID": number, "Prices": {"ItemPrice": prices}, "Category": category}


def _item(product: Product, items: dict[str, int]) -> dict[str, Any]:
    number = items[product.sku]
    return {
        "itemID": str(number),
        "systemSku": f"21{number:010}",
        "discountable": "true",
        "tax": "true",
        "archived": "false",
        "itemType": "non_inventory",
        "description": product.name,
        "upc": "",
        "ean": "",
        "customSku": product.sku,
        "manufacturerSku": "",
        "createTime": "2023-11-01T08:00:00+00:00",
        "timeStamp": "2023-11-01T08:00:00+00:00",
        "categoryID": "0",
        "taxClassID": "1",
    }


def children(relation: str, element: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A relation with one child is an object, with several a list; with none it is not there."""
    if not records:
        return {}
    return {relation: {element: records[0] if len(records) == 1 else list(records)}}


def stamp(at: datetime) -> str:
    """`2024-04-02T09:00:00+00:00`; `at` is in UTC."""
    return at.isoformat(timespec="seconds")


def flag(value: bool) -> str:
    """true or false, as text."""
    return "true" if value else "false"


def text(amount: Decimal) -> str:
    """A number without trailing zeros."""
    plain = f"{amount:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("", "-0") else plain


def kopiykas(amount: int) -> str:
    """Hryvnias."""
    return text(rounded(Decimal(amount).scaleb(-2)))
