"""With which day or week of the past a business compares one, where that is not the one 364 days earlier.

Kept in the shard's `keys.comparison`; a trigger publishes every edit, so the next build compares anew what it touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from psycopg2.extensions import connection as Connection

from sharding.errors import LarderError
from sharding.ids import id_range, make_id
from sharding.model import Shard

PeriodKind = Literal["day", "week"]
WEEK = 7


@dataclass(frozen=True)
class Comparison:
    """A decision: what begins on `begins_on` is compared with what begins on `compared_with`."""

    period: PeriodKind
    begins_on: date
    compared_with: date
    reason: str
    decided_by: str


def list_comparisons(connection: Connection, shard: Shard, business: int) -> list[Comparison]:
    """The decisions of a business, the latest days first."""
    query = """
        select period, begins_on, compared_with, reason, decided_by from {keys}.comparison
        where business_id between %s and %s
        order by begins_on desc, period
    """
    with connection.cursor() as cursor:
        cursor.execute(shard.render(query), id_range(business))
        return [Comparison(*row) for row in cursor.fetchall()]


def set_comparison(connection: Connection, shard: Shard, business: int, decision: Comparison) -> None:
    """Decide what a day or week of a business is compared with, instead of an earlier decision if there is one.

    Raises:
        LarderError: turn `you`: the other is not earlier, or it is no week of the business's.
    """
    if decision.compared_with >= decision.begins_on:
        raise LarderError(
            f"{decision.begins_on} can only be compared with an earlier {decision.period}",
            "you",
            "larder map compare --help",
        )
    with connection.cursor() as cursor:
        cursor.execute(
            shard.render("select {keys}.write_gate(%s), first_weekday from {keys}.route where business = %s"),
            (business, business),
        )
        [(_, first_weekday)] = cursor.fetchall()
        if decision.period == "week":
            for day in (decision.begins_on, decision.compared_with):
                if day.isoweekday() != first_weekday:
                    raise LarderError(
                        f"{day} is a {day:%A}, on which no week of this business begins",
                        "you",
                        "larder map compare --help",
                    )
        statement = """
            insert into {keys}.comparison (business_id, period, begins_on, compared_with, reason, decided_by)
            values (%s, %s, %s, %s, %s, %s)
            on conflict (business_id, period, begins_on) do update
            set compared_with = excluded.compared_with, reason = excluded.reason, decided_by = excluded.decided_by,
                decided_at = now()
        """
        values = (decision.period, decision.begins_on, decision.compared_with, decision.reason, decision.decided_by)
        cursor.execute(shard.render(statement), (make_id(business, 0), *values))


def remove_comparison(connection: Connection, shard: Shard, business: int, period: PeriodKind, begins_on: date) -> None:
    """Compare a day or week with the one 364 days earlier again.

    Raises:
        LarderError: turn `you`: nothing else was decided of it.
    """
    with connection.cursor() as cursor:
        cursor.execute(shard.render("select {keys}.write_gate(%s)"), (business,))
        statement = "delete from {keys}.comparison where business_id = %s and period = %s and begins_on = %s"
        cursor.execute(shard.render(statement), (make_id(business, 0), period, begins_on))
        if not cursor.rowcount:
            raise LarderError(f"nothing was decided of the {period} of {begins_on}", "you", "larder map comparisons")
