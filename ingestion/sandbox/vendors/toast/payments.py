"""Payments as Toast writes them into a check: voids and refunds are marked on the payment itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ingestion.sandbox.money import half_up
from ingestion.sandbox.vendors.toast.employees import manager_of, server_of
from ingestion.sandbox.vendors.toast.visit import Moment, Paid, Visit, as_number, business_date, guid, known_guid
from ingestion.sandbox.vendors.toast.writing import dollars, stamp

FEE, FEE_FIXED = Decimal("0.0249"), 15
NOTE = 500
"""Cash is given in five-dollar notes."""


def payment_record(visit: Visit, moment: Moment, paid: Paid) -> dict[str, Any]:
    """One payment of a check."""
    by_card = paid.kind == "CREDIT"
    status = None
    void = moment.voided or paid.void
    if void:
        status = "VOIDED"
    elif by_card:
        status = "CAPTURED" if moment.captured else "AUTHORIZED"
    record: dict[str, Any] = {
        "guid": paid.guid,
        "entityType": "OrderPayment",
        "paidDate": stamp(visit.paid_at),
        "paidBusinessDate": as_number(visit.order.at),
        "type": paid.kind,
        "amount": dollars(paid.amount),
        "tipAmount": dollars(paid.tip),
        "amountTendered": dollars(-(-paid.amount // NOTE) * NOTE if paid.kind == "CASH" else paid.amount),
        "paymentStatus": status,
        "refundStatus": "NONE",
        "refund": None,
        "voidInfo": None,
    }
    if by_card:
        record |= {
            "cardType": "VISA",
            "last4Digits": "4242",
            "originalProcessingFee": dollars(half_up((paid.amount + paid.tip) * FEE) + FEE_FIXED),
        }
    if void:
        at = moment.since if moment.voided else visit.paid_at
        user = manager_of(visit.order) if moment.voided else server_of(visit.order)
        record["voidInfo"] = {
            "voidUser": user,
            "voidApprover": None,
            "voidDate": stamp(at),
            "voidBusinessDate": business_date(at, visit.order.zone),
            "voidReason": {"guid": known_guid("void reason", "mistake"), "entityType": "VoidReason"},
        }
    if paid.back:
        at = visit.happens_at
        record |= {
            "refundStatus": "FULL" if paid.back == paid.amount else "PARTIAL",
            "refund": {
                "refundAmount": dollars(paid.back),
                "tipRefundAmount": dollars(paid.tip_back),
                "refundDate": stamp(at),
                "refundBusinessDate": business_date(at, visit.order.zone),
                "refundTransaction": {"guid": guid("refund", visit.order.id), "entityType": "RefundTransaction"},
            },
        }
    return record
