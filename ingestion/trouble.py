"""A server's or this machine's own trouble, told apart from what a block is to blame for.

A block that raw refuses is set aside and shown to people; a disk that is full, or a deadlock, is nobody's record.
"""

import errno

import psycopg2
from psycopg2 import errorcodes

from ingestion.errors import LarderError

_TOLD = {
    errorcodes.DISK_FULL: "a disk of the shard is full",
    errorcodes.OUT_OF_MEMORY: "the shard's server is out of memory",
    errorcodes.TOO_MANY_CONNECTIONS: "the shard's server takes no more connections",
}
_CLASSES = {
    errorcodes.CLASS_TRANSACTION_ROLLBACK: "other sessions were in the way again and again",
    errorcodes.CLASS_INSUFFICIENT_RESOURCES: "the shard's server lacks resources",
    errorcodes.CLASS_OPERATOR_INTERVENTION: "the shard's server ended the load",
    errorcodes.CLASS_SYSTEM_ERROR: "the shard's server has trouble with its disk",
}
_PASSING = (errorcodes.DEADLOCK_DETECTED, errorcodes.SERIALIZATION_FAILURE)


def is_passing(error: psycopg2.Error) -> bool:
    """Whether the same once more will do: another session was in the way."""
    return error.pgcode in _PASSING


def trouble_of(error: BaseException) -> LarderError | None:
    """The server's or this machine's trouble behind an error, as people act on it; None where what was sent may be to
    blame."""
    found: BaseException | None = error
    while found is not None:
        said = _said(found)
        if said is not None:
            return LarderError(f"{said}: {' '.join(str(found).split())}", turn="us", next_command="larder load")
        found = found.__cause__ or found.__context__
    return None


def _said(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return "this machine is out of memory"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "a disk of this machine is full"
    code = (error.pgcode if isinstance(error, psycopg2.Error) else None) or ""
    return _TOLD.get(code) or _CLASSES.get(code[:2])
