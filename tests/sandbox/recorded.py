"""The recorded pages of Square and Toast: of each kind of story the first order, as served on a day in the sandbox.

`python -m tests.sandbox.recorded` writes them anew after a change of what the sandbox serves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from ingestion.sandbox.data import Trade, load
from ingestion.sandbox.timeline import encoded
from ingestion.sandbox.vendors.square import till
from ingestion.sandbox.vendors.square.vendor import SquareVendor
from ingestion.sandbox.vendors.toast import orders
from ingestion.sandbox.vendors.toast.vendor import BAR, PIZZA, ToastVendor

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED_AT = datetime(2024, 4, 3, 16, tzinfo=UTC)


def decoded(body: bytes) -> Any:
    """JSON with exact numbers."""
    return json.loads(body, parse_float=Decimal)


def pages(trade: Trade) -> dict[str, Any]:
    """Every recorded page by `<vendor>/<stream>`."""
    return {
        **{f"square/{name}": page for name, page in _square(SquareVendor(trade)).items()},
        **{f"toast/{name}": page for name, page in _toast(ToastVendor(trade)).items()},
    }


def _square(vendor: SquareVendor) -> dict[str, Any]:
    served = [decoded(s.body) for s in vendor.orders.all(RECORDED_AT)]
    kinds = ["", *till.SHARES]
    chosen: list[Mapping[str, Any]] = []
    for kind in kinds:
        of_kind = [o for o in served if o.get("metadata", {}).get("synthetic", "") == kind]
        sales = [o for o in of_kind if "line_items" in o]
        returned = {r["source_order_id"] for o in of_kind for r in o.get("returns", [])}
        chosen.append(next((o for o in sales if o["id"] in returned), sales[0]))
        chosen += [o for o in of_kind if any(r["source_order_id"] == chosen[-1]["id"] for r in o.get("returns", []))]
    chosen += [o for o in served if o["state"] == "OPEN"][:1]
    ids = {o["id"] for o in chosen}
    refunds = [decoded(s.body) for s in vendor.refunds.all(RECORDED_AT)]
    payments = [decoded(s.body) for s in vendor.payments.all(RECORDED_AT)]
    return {
        "locations": {"locations": vendor.locations},
        "catalog": {"objects": [decoded(s.body) for s in vendor.catalog]},
        "orders": {"orders": chosen},
        "payments": {"payments": [p for p in payments if p["order_id"] in ids]},
        "refunds": {"refunds": [r for r in refunds if r["order_id"] in ids]},
    }


def _toast(vendor: ToastVendor) -> dict[str, Any]:
    served = [decoded(s.body) for s in vendor.orders.between(*_always(), RECORDED_AT, frozenset([PIZZA]))]
    bar = [decoded(s.body) for s in vendor.orders.between(*_always(), RECORDED_AT, frozenset([BAR]))]
    chosen = [next(o for o in served if not o["externalId"])]
    for kind in orders.SHARES:
        chosen += [o for o in served if (o["externalId"] or "").startswith(f"synthetic-{kind}-")][:1]
    chosen += [o for o in served if not o["paidDate"]][:1]
    chosen += [o for o in served if _status(o) == "AUTHORIZED"][:1]
    return {
        "restaurants": [vendor.restaurants[PIZZA], vendor.restaurants[BAR]],
        "menu_items": vendor.items[BAR],
        "orders": [*chosen, bar[0], *[o for o in bar if o["externalId"]][:2]],
    }


def _status(order: Mapping[str, Any]) -> Any:
    return next((p["paymentStatus"] for check in order["checks"] for p in check["payments"]), None)


def _always() -> tuple[datetime, datetime]:
    return datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def text(page: object) -> str:
    """A page as its file holds it: indented, its numbers as they were served."""
    return msgspec.json.format(encoded(page), indent=1).decode() + "\n"


if __name__ == "__main__":
    for name, page in pages(load()).items():
        (FIXTURES / f"{name}.json").write_text(text(page))
