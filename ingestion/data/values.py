"""Cells as people and programs write them → one exact text for each type. Money never becomes a float."""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.currencies import ISO_4217
from ingestion.data.entities import Type

NOON = time(12)
_SPACES = str.maketrans("", "", " \u00a0\u202f\u2009'’")
_GROUPED = {
    ".": re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?"),
    ",": re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d*)?"),
}
_WORDS = {
    "kr",
    "zł",
    "kč",
    "ft",
    "лв",
    "лв.",
    "lei",
    "грн",
    "грн.",
    "руб",
    "руб.",
    "r$",
    "c$",
    "a$",
    "us$",
    "fr.",
    "rs.",
}
_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}
_INTERVAL = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


class BadValue(ValueError):
    """A cell that is not what its column should hold; the message says so in words."""


class Reader:
    """Reads cells of one kind of rows: its decimal sign, its spellings of dates, its time zone."""

    def __init__(self, decimal: str = ".", dates: Sequence[str] = ("iso",), time_zone: str = "UTC") -> None:
        self._decimal, self._dates, self._zone = decimal, tuple(dates), ZoneInfo(time_zone)

    def read(self, cell: Any, kind: Type) -> str | int | bool | None:
        """The cell's value as JSON can hold it exactly: numbers and times as text. None for an empty cell.

        Raises BadValue.
        """
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return None
        match kind:
            case "text":
                return text_of(cell)
            case "number":
                return format(self.number(cell), "f")
            case "integer":
                number = self.number(cell)
                if number != number.to_integral_value():
                    raise BadValue(f"{_shown(cell)} is no whole number")
                return int(number)
            case "boolean":
                return _boolean(cell)
            case "date":
                return self.moment(cell)[0].date().isoformat()
            case "timestamp":
                return self._instant(cell).isoformat()
            case "currency":
                code = text_of(cell).strip().upper()
                if code not in ISO_4217:
                    raise BadValue(f"{_shown(cell)} is no ISO 4217 currency")
                return code
            case "interval":
                text = text_of(cell).strip()
                if not _INTERVAL.fullmatch(text):
                    raise BadValue(f"{_shown(cell)} is no time of day such as 04:00")
                return text

    def number(self, cell: Any) -> Decimal:
        """An exact number. Signs of currencies, groups of thousands, accountants' brackets and minus at the end go;
        what could be read in two ways is refused."""
        if isinstance(cell, bool):
            raise BadValue(f"{_shown(cell)} is no number")
        if isinstance(cell, int):
            return Decimal(cell)
        if isinstance(cell, float):
            cell = _decimal(cell)
        if isinstance(cell, Decimal):
            if not cell.is_finite():
                raise BadValue(f"{_shown(cell)} is no number")
            return cell
        if not isinstance(cell, str):
            raise BadValue(f"{_shown(cell)} is no number")
        text = cell.translate(_SPACES)
        negative = text.startswith("(") and text.endswith(")")
        text = _without_currency(text[1:-1] if negative else text)
        if text.endswith("-"):
            negative, text = not negative, text[:-1]
        text = f"-{_without_currency(text[1:])}" if text.startswith("-") else text
        if not any(sign.isdigit() for sign in text) or not _GROUPED[self._decimal].fullmatch(text):
            raise BadValue(f"{_shown(cell)} is no number with a decimal {'comma' if self._decimal == ',' else 'point'}")
        other = "," if self._decimal == "." else "."
        try:
            found = Decimal(text.replace(other, "").replace(",", "."))
        except InvalidOperation as error:
            raise BadValue(f"{_shown(cell)} is no number") from error
        return -found if negative else found

    def moment(self, cell: Any) -> tuple[datetime, bool]:
        """A time, with or without an offset as it was written, and whether it is a bare date."""
        if isinstance(cell, datetime):
            return cell, False
        if isinstance(cell, date):
            return datetime.combine(cell, time()), True
        text = text_of(cell).strip()
        for spelling in self._dates:
            try:
                if spelling == "iso":
                    bare = bool(re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text))
                    return datetime.fromisoformat(text), bare
                return datetime.strptime(text, spelling), not re.search("%[HIMSpXcTRsf]", spelling)
            except ValueError:
                continue
        raise BadValue(f"{_shown(cell)} is no date in a spelling of {', '.join(self._dates)}")

    def _instant(self, cell: Any) -> datetime:
        """An instant in UTC. A bare date is its noon: whenever the location's day begins, it stays on that date."""
        moment, bare = self.moment(cell)
        if bare:
            moment = datetime.combine(moment.date(), NOON)
        if moment.tzinfo is None:
            local = moment.replace(tzinfo=self._zone)
            if local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != moment:
                raise BadValue(f"{_shown(cell)} does not exist in {self._zone.key}: clocks went forward")
            moment = local
        return moment.astimezone(UTC)


def text_of(cell: Any) -> str:
    """A cell as text, exactly."""
    match cell:
        case str():
            return cell
        case bool():
            return "true" if cell else "false"
        case float():
            return format(_decimal(cell), "f")
        case Decimal():
            return format(cell, "f")
        case date() | time():  # a datetime is a date
            return cell.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(cell).hex()
        case dict() | list():
            return json.dumps(cell, ensure_ascii=False, default=str)
        case _:
            return str(cell)


def _without_currency(text: str) -> str:
    """The text without a currency's sign, code or word before or behind; any other letter stays, and is no number."""
    for found in (re.match(r"[^\d,()+-]*[^\d.,()+-]", text), re.search(r"[^\d.,()+-][^\d,()+-]*$", text)):
        if found is not None and _is_currency(found[0]):
            return text[: found.start()] + text[found.end() :]
    return text


def _is_currency(sign: str) -> bool:
    return unicodedata.category(sign[0]) == "Sc" == unicodedata.category(sign[-1]) or (
        sign.upper() in ISO_4217 or sign.lower() in _WORDS
    )


def _decimal(number: float) -> Decimal:
    """A float of a spreadsheet, by the 15 digits that a spreadsheet shows: 0.1 + 0.2 is 0.3 there."""
    if not math.isfinite(number):
        raise BadValue(f"{number} is no number")
    return Decimal(f"{number:.15g}")


def _boolean(cell: Any) -> bool:
    said = text_of(cell).strip().lower()
    if said in _TRUE or said in _FALSE:
        return said in _TRUE
    raise BadValue(f"{_shown(cell)} is neither yes nor no")


def _shown(cell: Any) -> str:
    text = text_of(cell) if not isinstance(cell, float) else repr(cell)
    return repr(text if len(text) <= 60 else text[:60] + "…")
