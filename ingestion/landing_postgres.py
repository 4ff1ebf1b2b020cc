"""dlt's Postgres, as landing needs it: what the server refuses of the data is refused at once.

dlt tries a failed job five times, a second apart, unless its error is one that will not pass. It sorts the errors of
its statements so, but not those of its COPY: a record that is no JSON would be sent again and again, and so would each
part of its package, while the shard waits. A lost connection keeps its tries.
"""

from __future__ import annotations

from typing import Any

import psycopg2
from dlt.destinations import postgres
from dlt.destinations.exceptions import DatabaseTerminalException
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob


class _Copy(PostgresCsvCopyJob):  # type: ignore[misc]  # dlt has no types
    def run(self) -> None:
        try:
            super().run()
        except psycopg2.DataError as error:
            raise DatabaseTerminalException(error) from error


class _Client(PostgresClient):  # type: ignore[misc]  # dlt has no types
    def create_load_job(self, table: Any, file_path: str, load_id: str, restore: bool = False) -> Any:
        job = super().create_load_job(table, file_path, load_id, restore)
        return _Copy(file_path) if isinstance(job, PostgresCsvCopyJob) else job


class LandingPostgres(postgres):  # type: ignore[misc]  # dlt has no types
    """A destination whose jobs end at data that the server refuses."""

    @property
    def client_class(self) -> type[_Client]:
        return _Client
