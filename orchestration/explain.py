"""From a mart's number back to its receipts: facts, raw versions, blocks and requests, and what changed it when.

Nothing of it knows a model by name: dbt's lineage says what a summary is made of (explain_sql.py). Everything is read
in one read-only snapshot. What is listed adds up to the number, or the account says that it does not, and why.
"""

from __future__ import annotations

from datetime import date

from orchestration.dbt_worker import DbtProject
from orchestration.explain_account import Account
from orchestration.explain_sql import Graph
from orchestration.explain_work import Work
from orchestration.results import Target
from orchestration.retarget import retarget
from orchestration.snapshot import snapshot
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
        with snapshot(target, "explain", timeout, "timezone=UTC") as cursor:
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
