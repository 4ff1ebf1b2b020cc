"""The part of the Google Ads Query Language that reports need: SELECT … FROM customer | campaign WHERE … AND …"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ingestion.sandbox.advertising import Account, Campaign, Delivery, deliveries

QUERY = re.compile(r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<resource>\w+)(?:\s+WHERE\s+(?P<where>.+?))?\s*")
BETWEEN = re.compile(r"segments\.date BETWEEN '(\S+)' AND '(\S+)'")
EQUALS = re.compile(r"(\S+) = '(\S+)'")
FIELDS = {
    "customer": ("id", "descriptive_name", "currency_code", "time_zone", "manager"),
    "campaign": ("id", "name", "status", "advertising_channel_type"),
    "segments": ("date", "conversion_action_category"),
    "metrics": ("impressions", "clicks", "cost_micros", "conversions", "conversions_value"),
}
OF_CONVERSIONS = {"conversions", "conversions_value"}
LATEST = 33
"""Days after a click for which Google still finds conversions here: 30, and the time until it reports them."""
CALL_VALUE = Decimal(1)


class QueryError(Exception):
    """A query that Google refuses, with the name of its `queryError`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Query:
    """A query as read: what is asked for of which resource, and for which days and kind of conversion."""

    resource: str
    fields: tuple[tuple[str, str], ...]  # (customer, currency_code), …
    days: tuple[date, date] | None
    category: str | None

    def has(self, group: str, name: str = "") -> bool:
        """Whether a field (or any of the group) is asked for."""
        return any(g == group and name in ("", n) for g, n in self.fields)


def parsed(text: str) -> Query:
    """The query of a text; raises QueryError for what Google refuses, and for what is not served here."""
    parts = QUERY.fullmatch(text)
    if parts is None:
        raise QueryError("UNEXPECTED_INPUT", "Error in query: unexpected input.")
    if parts["resource"] not in ("customer", "campaign"):
        raise QueryError("BAD_RESOURCE_TYPE_IN_FROM_CLAUSE", f"Error in query: resource {parts['resource']!r}.")
    fields: list[tuple[str, str]] = []
    for field in (part.strip() for part in parts["fields"].split(",")):
        group, _, name = field.partition(".")
        if name not in FIELDS.get(group, ()):
            raise QueryError("UNRECOGNIZED_FIELD", f"Unrecognized field in the query: '{field}'.")
        fields.append((group, name))
    days, category = _where(parts["where"] or "")
    query = Query(parts["resource"], tuple(fields), days, category)
    _check(query)
    return query


def _where(text: str) -> tuple[tuple[date, date] | None, str | None]:
    days, category = None, None
    between = BETWEEN.search(text)
    if between:
        try:
            days = date.fromisoformat(between[1]), date.fromisoformat(between[2])
        except ValueError as error:
            raise QueryError("INVALID_VALUE_WITH_BETWEEN_OPERATOR", f"Invalid date: {error}.") from error
        text = text.replace(between[0], "").removeprefix(" AND ").removesuffix(" AND ")
    if text:
        equals = EQUALS.fullmatch(text.strip())
        if equals is None or equals[1] != "segments.conversion_action_category":
            raise QueryError("BAD_FIELD_NAME", f"This sandbox cannot filter by {text!r}.")
        category = equals[2]
    return days, category


def _check(query: Query) -> None:
    if query.has("segments", "date") and query.days is None:
        raise QueryError("MISSING_DATE_RANGE", "A finite range of segments.date must be in the WHERE clause.")
    by_category = query.has("segments", "conversion_action_category")
    if query.category is not None and not by_category:
        raise QueryError("EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE", "Filtered by a segment that is not selected.")
    if by_category and any(group == "metrics" and name not in OF_CONVERSIONS for group, name in query.fields):
        raise QueryError("PROHIBITED_METRIC_IN_SELECT_OR_WHERE_CLAUSE", "A metric has no conversion_action_category.")


def rows(account: Account, query: Query, now: datetime) -> Iterator[dict[str, Any]]:
    """The rows of a query as of `now`: the account, its campaigns, or campaigns by day where any metric is not zero."""
    if query.resource == "customer":
        yield _row(query, {"customer": _customer(account)})
    elif query.days is None:
        for campaign in account.campaigns:
            if campaign.first <= account.today(now):
                yield _row(query, {"customer": _customer(account), "campaign": _campaign(account, campaign)})
    else:
        for delivery in deliveries(account, *query.days, now, LATEST):
            for category, metrics in _metrics(delivery, query):
                yield _row(
                    query,
                    {
                        "customer": _customer(account),
                        "campaign": _campaign(account, delivery.campaign),
                        "metrics": metrics,
                        "segments": {"conversion_action_category": category, "date": delivery.day.isoformat()},
                    },
                )


def _metrics(delivery: Delivery, query: Query) -> Iterator[tuple[str, dict[str, Any]]]:
    """Metrics by kind of conversion where that is asked for, else in one."""
    bought = sum((share for share, _ in delivery.purchases), Decimal(0))
    worth = sum((share * value for share, value in delivery.purchases), Decimal(0))
    if query.has("segments", "conversion_action_category"):
        kinds = {"PURCHASE": (bought, worth), "PHONE_CALL_LEAD": (Decimal(delivery.calls), delivery.calls * CALL_VALUE)}
        for kind, (count, value) in kinds.items():
            if count and query.category in (None, kind):
                yield kind, {"conversions": _double(count), "conversions_value": _double(value)}
        return
    yield (
        "",
        {
            "impressions": str(delivery.impressions),
            "clicks": str(delivery.clicks),
            "cost_micros": str(int(delivery.spend * 1_000_000)),
            "conversions": _double(bought + delivery.calls),
            "conversions_value": _double(worth + delivery.calls * CALL_VALUE),
        },
    )


def _double(value: Decimal) -> Decimal | int:
    """A double as JSON has it: no trailing zeros."""
    return int(value) if value == value.to_integral() else value.normalize()


def _customer(account: Account) -> dict[str, Any]:
    return {
        "resource_name": f"customers/{account.number}",
        "id": account.number,
        "descriptive_name": account.name,
        "currency_code": account.currency,
        "time_zone": account.timezone,
        "manager": False,
    }


def _campaign(account: Account, campaign: Campaign) -> dict[str, Any]:
    return {
        "resource_name": f"customers/{account.number}/campaigns/{campaign.number}",
        "id": campaign.number,
        "name": campaign.name,
        "status": campaign.state,
        "advertising_channel_type": campaign.aim,
    }


def _row(query: Query, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What was asked for, in camel case; a resource also has its name."""
    row: dict[str, Any] = {}
    for group in dict.fromkeys(group for group, _ in query.fields):
        names = [name for g, name in query.fields if g == group]
        if "resource_name" in values[group]:
            names = ["resource_name", *names]
        row[group] = {camel(name): values[group][name] for name in names}
    return row


def camel(name: str) -> str:
    """`cost_micros` → `costMicros`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
