"""One read-only snapshot of a shard, for commands that explain what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import cursor as Cursor

from orchestration.results import Target
from sharding.errors import LarderError


@contextmanager
def snapshot(target: Target, command: str, timeout_seconds: float, *settings: str) -> Iterator[Cursor]:
    """Everything read through the cursor is of one moment.

    Args:
        command: of `larder`, for whoever looks at the server, and for the error.
        timeout_seconds: of a statement.
        settings: more of the session's, such as `timezone=UTC`.

    Raises:
        LarderError: turn `you`: a statement took longer.
    """
    given = [f"statement_timeout={int(timeout_seconds * 1000)}", "jit=off", "work_mem=64MB", *settings]
    connection = psycopg2.connect(
        host=target.host, port=target.port, user=target.username, password=target.password or None,
        dbname=target.database, connect_timeout=5, application_name=f"larder {command}",
        options=" ".join(f"-c {setting}" for setting in given),
    )  # fmt: skip
    with closing(connection):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            with connection.cursor() as cursor:
                yield cursor
        except psycopg2.extensions.QueryCanceledError as error:
            cause = f"{target.name}: not read within {timeout_seconds:g} s"
            raise LarderError(cause, "you", f"larder {command} … --timeout {timeout_seconds * 10:g}") from error
        finally:
            connection.rollback()
