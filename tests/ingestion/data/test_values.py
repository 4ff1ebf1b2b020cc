"""Cells as people write them, and what is refused because it could mean two things."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.data.values import BadValue, Reader


@pytest.mark.parametrize(
    ("decimal", "cell", "read"),
    [
        (".", "12.50", "12.50"),
        (".", "1,234,567.8", "1234567.8"),
        (".", "$ 1,234.50", "1234.50"),
        (".", "1234.50 USD", "1234.50"),
        (".", "(12.50)", "-12.50"),
        (".", "12.50-", "-12.50"),
        (".", "-$12.50", "-12.50"),
        (".", ".5", "0.5"),
        (",", "12,50", "12.50"),
        (",", "1.234,50", "1234.50"),
        (",", "1 234,50", "1234.50"),
        (",", "1\u00a0234,50 ₴", "1234.50"),
        (",", "1'234,50", "1234.50"),
        (",", "12,50 грн.", "12.50"),
        (".", "R$ 12.50", "12.50"),
        (",", 12.5, "12.5"),  # a number of a workbook has no decimal sign
        (".", 0.1 + 0.2, "0.3"),
        (".", Decimal("1E+3"), "1000"),
        (".", 9007199254740993, "9007199254740993"),
    ],
)
def test_numbers_are_exact(decimal: str, cell: Any, read: str) -> None:
    assert Reader(decimal).read(cell, "number") == read


@pytest.mark.parametrize(
    ("decimal", "cell"),
    [(".", "12,50"), (",", "12.50"), (".", "1,23,456"), (".", "1.2.3"), (".", "n/a"), (".", "--5"), (".", float("nan")),
     (".", True), (".", "1e5x9"), (",", "1 234.50"), (".", "A1"), (".", "T 12"), (".", "12 pcs"), (".", "ABC12.50")],
)  # fmt: skip
def test_what_is_no_number_or_could_be_two_is_refused(decimal: str, cell: Any) -> None:
    with pytest.raises(BadValue):
        Reader(decimal).read(cell, "number")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14))
def test_a_number_written_with_either_sign_is_the_same(number: Decimal) -> None:
    pointed = f"{number:,.4f}"
    swapped = pointed.translate(str.maketrans(",.", ".,"))
    assert Decimal(str(Reader(".").read(pointed, "number"))) == number
    assert Decimal(str(Reader(",").read(swapped, "number"))) == number


def test_times_have_a_zone_and_a_bare_date_stays_on_its_day() -> None:
    kyiv = Reader(dates=("%d.%m.%Y %H:%M", "%d.%m.%Y", "iso"), time_zone="Europe/Kyiv")
    assert kyiv.read("01.04.2024 09:15", "timestamp") == "2024-04-01T06:15:00+00:00"
    assert kyiv.read("01.04.2024", "timestamp") == "2024-04-01T09:00:00+00:00"  # noon, in summer time
    assert kyiv.read("2024-04-01T09:15:00-05:00", "timestamp") == "2024-04-01T14:15:00+00:00"
    assert kyiv.read(date(2024, 1, 1), "timestamp") == "2024-01-01T10:00:00+00:00"
    assert kyiv.read(datetime.combine(date(2024, 1, 1), time()), "timestamp") == "2023-12-31T22:00:00+00:00"
    assert kyiv.read("01.04.2024 23:59", "date") == "2024-04-01"
    with pytest.raises(BadValue, match="does not exist in Europe/Kyiv"):
        kyiv.read("31.03.2024 03:30", "timestamp")  # clocks went from 03:00 to 04:00
    with pytest.raises(BadValue, match=r"'31.04.2024' is no date in a spelling of %d.%m.%Y %H:%M, %d.%m.%Y, iso"):
        kyiv.read("31.04.2024", "date")


def test_other_types() -> None:
    reader = Reader()
    assert reader.read(" usd ", "currency") == "USD"
    assert reader.read("Yes", "boolean") is True and reader.read("0", "boolean") is False
    assert reader.read("3.0", "integer") == 3
    assert reader.read("04:00", "interval") == "04:00"
    assert reader.read("  ", "text") is None
    for kind, cell in (("currency", "US$"), ("boolean", "maybe"), ("integer", "3.5"), ("interval", "noon")):
        with pytest.raises(BadValue):
            reader.read(cell, kind)  # type: ignore[arg-type]
