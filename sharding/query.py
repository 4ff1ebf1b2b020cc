"""Read-only queries on one shard or many."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg2

from sharding.errors import LarderError
from sharding.model import INSPECTOR, Shard


@dataclass(frozen=True)
class Result:
    """What a query gave on one shard."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def read_only(shard: Shard, query: str, timeout_seconds: float = 0) -> Result:
    """Run a query in a read-only transaction that is rolled back. `{marts}` and the like stand for the schemas.

    Args:
        timeout_seconds: the server ends a longer one; 0: never.

    Raises:
        LarderError: turn `you`: Postgres refused the query, with its message.
    """
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(timeout_seconds * 1000)}"
    dsn = shard.as_role(INSPECTOR).dsn
    with closing(psycopg2.connect(dsn, application_name="larder sql", options=options)) as connection:
        connection.set_session(readonly=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(shard.render(query))
                if cursor.description is None:
                    return Result((), [])
                return Result(tuple(column.name for column in cursor.description), cursor.fetchall())
        except (
            psycopg2.ProgrammingError,
            psycopg2.DataError,
            psycopg2.InternalError,
            psycopg2.NotSupportedError,
            psycopg2.extensions.QueryCanceledError,
        ) as error:
            cause = f"{shard.name}: {str(error).strip()}"
            raise LarderError(cause, "you", f"larder sql --shard {shard.name} …") from error
        finally:
            connection.rollback()
