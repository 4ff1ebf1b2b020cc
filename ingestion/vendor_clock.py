"""The vendor's own clock, as its answers tell it (`Date`): a window has not been read beyond it.

Where this machine's clock is ahead, the vendor dates what comes next behind the end of the window, and a cursor that
stood there would pass over it once the clock is right again.
"""

import email.utils
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ingestion.cursors import Span
from ingestion.spec import Stream
from ingestion.times import floor_time

NO_MATTER = timedelta(minutes=1)  # clocks differ by seconds, and `Date` says no parts of one: the lag covers that


def told(headers: Mapping[str, str]) -> datetime | None:
    """What time it was for the vendor; None where it does not say, or nothing that can be read."""
    try:
        found = email.utils.parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def within(span: Span, stream: Stream, headers: Mapping[str, str]) -> Span:
    """The window, resumed no later than the vendor's clock (less the lag) at its first answer."""
    now = told(headers)
    if stream.cursor is None or span.end is None or now is None or span.end <= now + NO_MATTER:
        return span
    return replace(span, resume=min(span.resume, floor_time(now - stream.cursor.lag, stream.cursor.format)))
