"""Read-only queries on one shard or many. No server can keep one waiting for longer than it was given."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sharding.errors import LarderError
from sharding.model import INSPECTOR, Shard

GRACE_SECONDS = 2.0
"""The server ends a query that takes too long and says so; one that does not say anything is left this much later."""

_NO_CURSOR_FOR_IT = frozenset({"42601", "0A000"})  # show, explain; what writes is then refused by the transaction


@dataclass(frozen=True)
class Result:
    """What a query gave on one shard. `cut`: there were more rows than asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool = False


def read_only(shard: Shard, query: str, timeout_seconds: float = 0, limit: int = 0) -> Result:
    """Run one query in a read-only transaction that is rolled back. `{marts}` and the like stand for the schemas.

    Args:
        timeout_seconds: after that the query is ended, connecting included; 0: never.
        limit: rows that are brought at most; 0: all.

    Raises:
        LarderError: turn `you`: Postgres refused the query, with its message, or it took too long; `config`: the shard
            does not answer.
    """
    give_up = time.monotonic() + timeout_seconds + GRACE_SECONDS if timeout_seconds else None
    with (
        _errors(shard, timeout_seconds),
        closing(_connect(shard, timeout_seconds, give_up)) as connection,
        connection.cursor() as cursor,
    ):
        return _rows(cursor, shard.render(query), limit, give_up)


def _rows(cursor: Cursor, query: str, limit: int, give_up: float | None) -> Result:
    _run(cursor, "begin read only; set local cursor_tuple_fraction = 1; savepoint before", give_up)
    try:
        _run(cursor, f"declare larder_rows no scroll cursor for {query}\n", give_up)
    except psycopg2.Error as error:
        if error.pgcode not in _NO_CURSOR_FOR_IT:
            raise
        _run(cursor, "rollback to savepoint before", give_up)
        _run(cursor, query, give_up)
    else:
        if cursor.statusmessage != "DECLARE CURSOR":
            raise LarderError("these are several statements, not one query", "you", "larder sql --help")
        _run(cursor, f"fetch forward {limit + 1 if limit else 'all'} from larder_rows", give_up)
    if cursor.description is None:
        return Result((), [])
    columns = tuple(column.name for column in cursor.description)
    rows = cursor.fetchmany(limit + 1) if limit else cursor.fetchall()
    return Result(columns, rows[:limit], len(rows) > limit) if limit else Result(columns, rows)


def _connect(shard: Shard, timeout_seconds: float, give_up: float | None) -> Connection:
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(timeout_seconds * 1000)}"
    connection = psycopg2.connect(
        shard.as_role(INSPECTOR).dsn, application_name="larder sql", options=options, async_=True
    )
    try:
        _wait(connection, give_up)
    except BaseException:
        connection.close()
        raise
    return connection


def _run(cursor: Cursor, statement: str, give_up: float | None) -> None:
    cursor.execute(statement)
    _wait(cursor.connection, give_up)


def _wait(connection: Connection, give_up: float | None) -> None:
    """Until the server has answered. psycopg2 would wait for ever for one that is stopped or cut off."""
    while (state := connection.poll()) != POLL_OK:
        left = None if give_up is None else give_up - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        sockets = [connection.fileno()]
        select.select(*((sockets, [], []) if state == POLL_READ else ([], sockets, [])), left)


@contextmanager
def _errors(shard: Shard, timeout_seconds: float) -> Iterator[None]:
    again = f"larder sql --shard {shard.name} …"
    try:
        yield
    except TimeoutError as error:
        cause = f"{shard.name} has not answered in {timeout_seconds + GRACE_SECONDS:g} s"
        raise LarderError(cause, "config", "larder status") from error
    except psycopg2.extensions.QueryCanceledError as error:
        raise LarderError(f"{shard.name}: {_said(error)}", "you", again + " --timeout SECONDS") from error
    except psycopg2.OperationalError as error:
        raise LarderError(f"{shard.name} does not answer: {_said(error)}", "config", "larder status") from error
    except psycopg2.Error as error:
        raise LarderError(f"{shard.name}: {str(error).strip()}", "you", again) from error


def _said(error: psycopg2.Error) -> str:
    return " ".join(str(error).split())
