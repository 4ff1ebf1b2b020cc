"""Vendors' spellings of time, both ways. Always aware, always UTC inside."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from ingestion.spec import TimeFormat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(value: object, spelling: TimeFormat) -> datetime:
    """A vendor's time as an aware UTC datetime; ValueError if it is not in that spelling or has no zone.

    ISO spellings and RFC 2822 take any offset (`Z`, `+00:00`, `+0000`); `date` is midnight UTC of that day, also of one
    that is written with a wall clock (`2024-03-09 00:00:00`); epochs may be numbers or text.
    """
    if spelling in ("epoch_ms", "epoch_s"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"{value!r} is not a whole number")
        unit = timedelta(milliseconds=1) if spelling == "epoch_ms" else timedelta(seconds=1)
        return _EPOCH + int(value) * unit
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    if spelling == "date":
        wall = datetime.fromisoformat(value)
        if wall.tzinfo is not None:
            raise ValueError(f"{value!r} is an instant, not a day")
        return wall.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    moment = parsedate_to_datetime(value) if spelling == "rfc2822" else datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no offset from UTC")
    return moment.astimezone(UTC)


def floor_time(moment: datetime, spelling: TimeFormat) -> datetime:
    """The latest moment that the spelling can express and that is not after `moment`."""
    if spelling == "date":
        return moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if spelling in _WHOLE_SECONDS:
        return moment.replace(microsecond=0)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_time(moment: datetime, spelling: TimeFormat) -> str:
    """A moment in the vendor's spelling, in UTC, to the millisecond at most."""
    return _FORMATS[spelling](floor_time(moment.astimezone(UTC), spelling))


_WHOLE_SECONDS: frozenset[TimeFormat] = frozenset({"epoch_s", "iso_seconds_z", "iso_seconds_offset", "rfc2822"})
_FORMATS: dict[TimeFormat, Callable[[datetime], str]] = {
    "iso_z": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
    "iso_offset": lambda moment: moment.isoformat(timespec="milliseconds"),
    "iso_ms_offset": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000",
    "iso_seconds_z": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "iso_seconds_offset": lambda moment: moment.isoformat(timespec="seconds"),
    "rfc2822": format_datetime,
    "date": lambda moment: moment.strftime("%Y-%m-%d"),
    "epoch_ms": lambda moment: str((moment - _EPOCH) // timedelta(milliseconds=1)),
    "epoch_s": lambda moment: str((moment - _EPOCH) // timedelta(seconds=1)),
}
