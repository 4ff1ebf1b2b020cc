"""The other sides of the comparison: raw, facts and summaries, read by SQL from one shard."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from reconcile.model import Amount, Sites, SiteSetting
from reconcile.reader import Folded, Place, parse, without


class Cell(NamedTuple):
    """What one amount is of."""

    business_date: date
    currency: str
    measure: str


Sums = dict[Cell, Decimal]


# What lines bear too: one that is lost on the way to `fct_sale_item` shows even where its order is whole.
OF_LINES = ("gross_sales", "discount", "gift_card_sold", "donations", "void_amount", "open_sales")


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
        for measure in OF_LINES:
            sums[Cell(day, currency, f"{measure}_of_lines")] = of(measure)
        sums[Cell(day, currency, "net_product_sales")] = product
        sums[Cell(day, currency, "net_sales")] = net
        sums[Cell(day, currency, "total_collected")] = collected
    return {cell: amount for cell, amount in sums.items() if amount}


def identity_breaks(sums: Mapping[Cell, Decimal], since: date | None = None) -> list[tuple[Cell, Decimal, Decimal]]:
    """Dates on which what was collected is not payments less money refunded: (cell, collected, paid).

    Up to the day `since`, on which a source's history begins, they need not meet: of a sale refunded later a till may
    send the payment, which its refund has changed, and not the order, which has not changed.
    """
    breaks = []
    for day, currency in sorted(
        {(c.business_date, c.currency) for c in sums if c.measure in ("payments", "total_collected")}
    ):
        collected = sums.get(Cell(day, currency, "total_collected"), Decimal(0))
        paid = sums.get(Cell(day, currency, "payments"), Decimal(0)) - sums.get(
            Cell(day, currency, "refunds"), Decimal(0)
        )
        if collected != paid and (since is None or day > since):
            breaks.append((Cell(day, currency, "total_collected"), collected, paid))
    return breaks


class RawDifference(NamedTuple):
    """A key whose latest record in the blocks is not raw's current row."""

    stream: str
    natural_key: str
    problem: str


def raw_differences(
    cursor: Any, raw_table: str, source_id: int, stream: str, folded: Folded, volatile: Sequence[str] = ()
) -> list[RawDifference]:
    """Compare the folded blocks with `<stream>_current`: the same keys, and payloads equal number by number.

    What stands at a `volatile` path is left out: a change of nothing else makes no version.
    """
    found: list[RawDifference] = []
    if folded.keyless:
        found.append(RawDifference(stream, "", f"{folded.keyless} records without a key, not in quarantine either"))
    in_raw = set()
    cursor.execute("select to_regclass(%s) is not null", (raw_table,))
    if cursor.fetchone()[0]:  # a stream's tables come with its first record
        cursor.execute(f"select natural_key, payload::text from {raw_table} where source_id = %s", (source_id,))
    for natural_key, payload in cursor:
        in_raw.add(natural_key)
        seen = folded.current.get(natural_key)
        if seen is None:
            found.append(RawDifference(stream, natural_key, "in raw, not in the blocks"))
        elif without(parse(payload), volatile) != without(seen.payload, volatile):
            found.append(RawDifference(stream, natural_key, "payload differs"))
    found += [RawDifference(stream, k, "in the blocks, not in raw") for k in folded.current.keys() - in_raw]
    return found


def quarantined_places(cursor: Any, raw_schema: str, source_id: int, stream: str) -> dict[Place, bool]:
    """Records of a stream that were set aside and are not in raw, by block, its first generation, and line: is it open?

    A block that was loaded again has later generations of the same file; what is set aside is so by the last of them.
    """
    cursor.execute(
        "select q.block_id::text, first.generation, q.ordinal, q.state = 'open'"
        f" from {raw_schema}.quarantine as q inner join ("
        f"select block_id, min(generation) as generation from {raw_schema}.loaded_blocks group by block_id"
        ") as first using (block_id) where q.source_id = %s and q.stream = %s and q.state <> 'resolved'",
        (source_id, stream),
    )
    return {Place(*place): is_open for *place, is_open in cursor}


NOT_LOADED = "in the store, not loaded"


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
    found += [LedgerProblem(b, "?", NOT_LOADED) for b in in_store.keys() - seen]
    return found


def as_json(value: object) -> str:
    """JSON for `--json`: Decimals and dates as strings, so that no reader rounds them."""
    return json.dumps(value, default=str, ensure_ascii=False)


# Columns of fct_sale that a receipt adds up to by itself; returns come from fct_refund.
_SALES = (
    "gross_sales", "discount", "tax", "tip", "gratuity", "service_charge", "gift_card_sold", "donations", "rounding",
    "net_product_sales", "net_sales", "total_collected", "void_amount", "open_sales", "order_count",
)  # fmt: skip
# measure → what fct_refund adds to it
_REFUNDS = {
    "returns": "returns",
    "refund_unitemised": "refund_unitemised",
    "tax": "-tax_returned",
    "tip": "-tip_returned",
    "service_charge": "-service_charge_returned",
    "gratuity": "-gratuity_returned",
    "gift_card_sold": "-gift_card_returned",
    "donations": "-donations_returned",
    "rounding": "-rounding_returned",
    "net_product_sales": "-returns",
    "net_sales": "-(returns + service_charge_returned)",
    "total_collected": "-(returns + refund_unitemised + tax_returned + tip_returned + service_charge_returned"
    " + gratuity_returned + gift_card_returned + donations_returned + rounding_returned)",
    "refunds": "amount_refunded",
}
_SUMMED = (*[m for m in _SALES if m != "order_count"], "returns", "refund_unitemised", "order_count")


class Query(NamedTuple):
    """Sums of one mart: measure → SQL, grouped by date and currency; `counts` are of no currency."""

    table: str
    money: Mapping[str, str]
    counts: Mapping[str, str]
    has_currency: bool = True


FACTS = (
    Query("fct_sale", {m: m for m in _SALES}, {}),
    Query(
        "fct_sale_item",
        {"line_count": "case when line_status = 'completed' then 1 else 0 end"}
        | {f"{measure}_of_lines": measure for measure in OF_LINES},
        {},
    ),
    Query("fct_refund", _REFUNDS, {}),
    Query("fct_payment", {"payments": "collected"}, {}),
    Query(
        "fct_shift",
        {"base_cost": "base_cost"},
        {
            "shift_count": "case when part_began_at = clocked_in_at then 1 else 0 end",
            "hours": "hours",
            "costed_hours": "costed_hours",
        },
    ),
    Query(
        "fct_ad_spend",
        {"spend": "spend", "claimed_purchase_value": "claimed_purchase_value"},
        {"impressions": "impressions", "clicks": "clicks", "claimed_purchases": "claimed_purchases"},
    ),
    Query(
        "fct_review",
        {},
        {"reviews": "1", "stars": "rating", "reviews_answered": "case when is_replied then 1 else 0 end"},
        has_currency=False,
    ),
    Query(
        "fct_mailing",
        {"mail_revenue": "attributed_revenue"},
        {
            "mails_sent": "sent_count",
            "mails_back": "bounce_count",
            "mails_opened": "unique_open_count",
            "mails_clicked": "unique_click_count",
            "mails_left": "unsubscribe_count",
            "mail_orders": "attributed_orders",
        },
    ),
)
SUMMARIES = (
    Query(
        "sum_sales_day",
        {m: m for m in _SUMMED} | {"payments": "payments_collected", "refunds": "amount_refunded"},
        {},
    ),
    Query(
        "sum_labour_day",
        {"base_cost": "base_cost"},
        {"shift_count": "shift_count", "hours": "hours", "costed_hours": "costed_hours"},
    ),
    Query(
        "sum_marketing_day",
        {"spend": "spend", "claimed_purchase_value": "claimed_purchase_value"},
        {"impressions": "impressions", "clicks": "clicks", "claimed_purchases": "claimed_purchases"},
    ),
    Query(
        "sum_review_day",
        {},
        {"reviews": "review_count", "stars": "rating_sum", "reviews_answered": "replied_count"},
        has_currency=False,
    ),
)
FACT_MEASURES = frozenset(m for q in FACTS for m in (*q.money, *q.counts))
SUMMARY_MEASURES = frozenset(m for q in SUMMARIES for m in (*q.money, *q.counts))


def facts(cursor: Any, marts: str, source_id: int) -> Sums:
    """What the facts of one source add up to."""
    sums: Sums = defaultdict(Decimal)
    for query in FACTS:
        _add(cursor, query, f"{marts}.{query.table}", "source_id = %s", (source_id,), sums)
    return {cell: amount for cell, amount in sums.items() if amount}


def summaries(cursor: Any, marts: str, keys: str, business: int) -> Sums:
    """What the summaries of one business add up to. A business's rows are a range of ids."""
    sums: Sums = defaultdict(Decimal)
    for query in SUMMARIES:
        # Marketing is by business: an account's spend need not belong to any location.
        owner = "business_id" if query.table == "sum_marketing_day" else "location_id"
        _add(cursor, query, f"{marts}.{query.table}", f"{keys}.business_of({owner}) = %s", (business,), sums)
    return {cell: amount for cell, amount in sums.items() if amount}


def _add(cursor: Any, query: Query, table: str, where: str, parameters: tuple[Any, ...], into: Sums) -> None:
    measures = [(name, sql, True) for name, sql in query.money.items()]
    measures += [(name, sql, False) for name, sql in query.counts.items()]
    columns = ", ".join(f"sum({sql})" for _, sql, _ in measures)
    currency = "currency::text" if query.has_currency else "null::text"
    cursor.execute(f"select business_date, {currency}, {columns} from {table} where {where} group by 1, 2", parameters)
    for day, currency, *amounts in cursor:
        for (name, _, is_money), amount in zip(measures, amounts, strict=True):
            if amount:
                into[Cell(day, (currency or "") if is_money else "", name)] += Decimal(amount)


def loaded_block_ids(cursor: Any, raw_schema: str, source_id: int) -> frozenset[str]:
    """Blocks of a source that are in the shard's ledger."""
    cursor.execute(f"select block_id::text from {raw_schema}.loaded_blocks where source_id = %s", (source_id,))
    return frozenset(row[0] for row in cursor)


def sites_of(cursor: Any, keys: str, source_id: int) -> Sites:
    """Time zone and day start of the source's sites, by its own keys, and who decided; its business's currency."""
    cursor.execute(
        f"""
        select
            site.natural_key, greatest(map.valid_from, setting.valid_from), least(map.valid_to, setting.valid_to),
            setting.timezone, setting.day_start, setting.decided_by
        from {keys}.source_location as site
        inner join {keys}.location_map as map on map.source_location_id = site.id
        inner join {keys}.location_setting as setting
            on setting.location_id = map.location_id
            and setting.valid_from < map.valid_to and map.valid_from < setting.valid_to
        where site.source_id = %s
        """,
        (source_id,),
    )
    decided: dict[str, list[SiteSetting]] = defaultdict(list)
    settled: dict[str, list[SiteSetting]] = defaultdict(list)
    for site, valid_from, valid_to, timezone, day_start, decided_by in cursor:
        setting = SiteSetting(valid_from, valid_to, timezone, day_start)
        settled[site].append(setting)
        if decided_by != "vendor":
            decided[site].append(setting)
    cursor.execute(f"select reporting_currency from {keys}.route where business = {keys}.business_of(%s)", (source_id,))
    [(currency,)] = cursor.fetchall()
    return Sites(decided, settled, currency)
