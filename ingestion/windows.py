"""A block's window as instants, whatever the vendor's spelling of it."""

from datetime import datetime, timedelta

from ingestion.blocks import Manifest
from ingestion.spec import Stream
from ingestion.times import parse_time


def bounds(manifest: Manifest, stream: Stream) -> tuple[datetime | None, datetime | None]:
    """The window as [start, end) in UTC; (None, None) of a stream that was read whole. Vendors' date windows include
    their last day."""
    window, cursor = manifest.window, stream.cursor
    if cursor is None or window.start is None or window.end is None:
        return None, None
    end = parse_time(window.end, cursor.format)
    return parse_time(window.start, cursor.format), end + timedelta(days=1) if cursor.grain == "date" else end
