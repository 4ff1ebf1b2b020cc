"""From a mart's number back to its receipts: facts, raw versions, blocks and requests, and what changed it when.

Nothing of it knows a model by name: dbt's lineage says what a summary is made of (explain_sql.py). Everything is read
in one read-only snapshot. What is listed adds up to the number, or the account says that it does not, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date

import psycopg2
from psycopg2.extensions import cursor as Cursor

from orchestration.dbt_worker import DbtProject
from orchestration.explain_account import Account
from orchestration.explain_sql import Graph
from orchestration.explain_work import Work
from orchestration.results import Target
from orchestration.retarget import retarget
from sharding.errors import LarderError


class Accountant(DbtProject):
    """A parsed dbt project that accounts for numbers."""

    def account(
        self, target: Target, model: str, place: tuple[str, int], day: date, column: str | None, timeout: float = 120
    ) -> Account:
        """Account for a column of a model at a place (`location_id` or `business_id`, with its value) on a day.

        Raises:
            LarderError: turn `you`: no such model, column or row, or a model that is not of a place and a day.
        """
        graph = self._graph(target, model)
        with _connected(target, timeout) as cursor:
            work = Work(self, graph, target, cursor, model, place, day, column)
            return work.account()

    def place_column(self, target: Target, model: str) -> str:
        """`location_id` or `business_id`: what the model's facet says where by."""
        facet = self._graph(target, model).facet(model)
        found = next((column for column in ("location_id", "business_id") if column in facet), None)
        if found is None:
            said = f"its facet is ({', '.join(facet)})" if facet else "it has no facet"
            raise LarderError(
                f"{model} is not of a location or business and a day: {said}", "you", "larder debug --help"
            )
        return found

    def _graph(self, target: Target, model: str) -> Graph:
        if self._manifest is None:
            self.parse()
        retarget(self._manifest, self._names, target.database, target.schema)
        graph = Graph(self._manifest)
        if model not in graph.ids:
            raise LarderError(f"there is no model {model!r}", "you", "dbt ls --resource-type model")
        return graph


@contextmanager
def _connected(target: Target, timeout: float) -> Iterator[Cursor]:
    """One read-only snapshot of the shard."""
    connection = psycopg2.connect(
        host=target.host, port=target.port, user=target.username, password=target.password or None,
        dbname=target.database, connect_timeout=5, application_name="larder explain",
        options=f"-c statement_timeout={int(timeout * 1000)} -c jit=off -c work_mem=64MB -c timezone=UTC",
    )  # fmt: skip
    with closing(connection):
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            with connection.cursor() as cursor:
                yield cursor
        except psycopg2.extensions.QueryCanceledError as error:
            cause = f"{target.name}: not read within {timeout:g} s"
            raise LarderError(cause, "you", f"larder explain … --timeout {timeout * 10:g}") from error
        finally:
            connection.rollback()
