"""The start of every transaction that writes a business's raw data."""

import psycopg2
from psycopg2.extensions import cursor as Cursor

from ingestion.errors import LarderError

_PUBLISH_LOCK = 19451


class GateClosedError(LarderError):
    """The business takes no writes here now: it is moving, or has moved. Its blocks wait."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, turn="you", next_command="larder business list")


def open_gate(cur: Cursor, keys: str, business: int) -> None:
    """Pass the business's write gate, then wait until no other transaction publishes for the business.

    `keys` is the shard's schema of that name. GateClosedError when the business takes no writes here (it is paused, or
    lives elsewhere): the route must be read again.
    """
    try:
        cur.execute(f'select "{keys}".write_gate(%s)', (business,))
    except psycopg2.Error as error:
        if error.pgcode != "LD001":
            raise
        raise GateClosedError(str(error.diag.message_primary)) from error
    cur.execute("select pg_advisory_xact_lock(%s, %s)", (_PUBLISH_LOCK, business))
