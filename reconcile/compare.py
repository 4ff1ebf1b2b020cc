"""The other sides of the comparison: raw, facts and summaries, read by SQL from one shard."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from reconcile.model import Amount
from reconcile.reader import Folded, Place, parse

NET = ("gross_sales", "discount", "returns")


class Cell(NamedTuple):
    """What one amount is of."""

    business_date: date
    currency: str
    measure: str


Sums = dict[Cell, Decimal]


def summed(amounts: Iterable[Amount]) -> Sums:
    """Amounts added up by date, currency and measure; zero sums dropped, the derived measures added."""
    sums: Sums = defaultdict(Decimal)
    for a in amounts:
        sums[Cell(a.business_date, a.currency, a.measure)] += a.amount
    for day, currency in {(c.business_date, c.currency) for c in sums}:

        def of(measure: str, day: date = day, currency: str = currency) -> Decimal:
            return sums.get(Cell(day, currency, measure), Decimal(0))

        product = of("gross_sales") - of("discount") - of("returns")
        net = product + of("service_charge")
        collected = (
            net
            + of("tax")
            + of("tip")
            + of("gratuity")
            + of("gift_card_sold")
            + of("donations")
            + of("rounding")
            - of("refund_unitemised")
        )
        sums[Cell(day, currency, "net_product_sales")] = product
        sums[Cell(day, currency, "net_sales")] = net
        sums[Cell(day, currency, "total_collected")] = collected
    return {cell: amount for cell, amount in sums.items() if amount}


def identity_breaks(sums: Mapping[Cell, Decimal]) -> list[tuple[Cell, Decimal, Decimal]]:
    """Dates on which what was collected is not payments less money refunded: (cell, collected, paid)."""
    breaks = []
    for day, currency in sorted(
        {(c.business_date, c.currency) for c in sums if c.measure in ("payments", "total_collected")}
    ):
        collected = sums.get(Cell(day, currency, "total_collected"), Decimal(0))
        paid = sums.get(Cell(day, currency, "payments"), Decimal(0)) - sums.get(
            Cell(day, currency, "refunds"), Decimal(0)
        )
        if collected != paid:
            breaks.append((Cell(day, currency, "total_collected"), collected, paid))
    return breaks


class RawDifference(NamedTuple):
    """A key whose latest record in the blocks is not raw's current row."""

    stream: str
    natural_key: str
    problem: str


def raw_differences(cursor: Any, raw_table: str, source_id: int, stream: str, folded: Folded) -> list[RawDifference]:
    """Compare the folded blocks with `<stream>_current`: the same keys, and payloads equal number by number."""
    cursor.execute(f"select natural_key, payload::text from {raw_table} where source_id = %s", (source_id,))
    found: list[RawDifference] = []
    in_raw = set()
    for natural_key, payload in cursor:
        in_raw.add(natural_key)
        seen = folded.current.get(natural_key)
        if seen is None:
            found.append(RawDifference(stream, natural_key, "in raw, not in the blocks"))
        elif parse(payload) != seen.payload:
            found.append(RawDifference(stream, natural_key, "payload differs"))
    found += [RawDifference(stream, k, "in the blocks, not in raw") for k in folded.current.keys() - in_raw]
    return found


def quarantined_places(cursor: Any, raw_schema: str, source_id: int, stream: str) -> frozenset[Place]:
    """Records of a stream that were set aside and are not in raw, by block, generation and line."""
    cursor.execute(
        f"select block_id::text, generation, ordinal from {raw_schema}.quarantine"
        " where source_id = %s and stream = %s and state <> 'resolved'",
        (source_id, stream),
    )
    return frozenset(Place(*row) for row in cursor)


class LedgerProblem(NamedTuple):
    """A block whose records are not all accounted for."""

    block_id: str
    stream: str
    problem: str


def ledger_problems(cursor: Any, raw_schema: str, source_id: int, in_store: Mapping[str, int]) -> list[LedgerProblem]:
    """Every block is in the ledger, and its records = versions + unchanged + superseded + quarantined + discarded."""
    cursor.execute(
        f"select block_id::text, stream, records, versions + unchanged + superseded + quarantined + discarded"
        f" from {raw_schema}.loaded_blocks where source_id = %s and generation = 1",
        (source_id,),
    )
    found, seen = [], set()
    for block_id, stream, records, accounted in cursor:
        seen.add(block_id)
        if records != accounted or in_store.get(block_id) != records:
            found.append(
                LedgerProblem(
                    block_id,
                    stream,
                    f"{in_store.get(block_id)} records stored, {records} in the ledger, {accounted} told",
                )
            )
    found += [LedgerProblem(b, "?", "in the store, not loaded") for b in in_store.keys() - seen]
    return found


def as_json(value: object) -> str:
    """JSON for `--json`: Decimals and dates as strings, so that no reader rounds them."""
    return json.dumps(value, default=str, ensure_ascii=False)
