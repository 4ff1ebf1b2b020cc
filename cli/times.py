"""Days and instants as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sharding.errors import LarderError


def moment(text: str, *, end: bool = False, option: str = "--from") -> datetime:
    """An ISO day, which as an end includes the whole day, or an ISO instant; in UTC where it says no offset.

    Raises LarderError, turn `you`, for anything else.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise LarderError(f"{option} {text!r} is no ISO day or time", "you", f"larder … {option} 2024-03-31") from error
    if end and len(text) == len("2024-03-31"):
        found += timedelta(days=1)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
