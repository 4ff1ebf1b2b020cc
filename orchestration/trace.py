"""From a record in raw to the facts that were made of it, and on to the summaries that those are in.

The models say it themselves: facts of records bear (source_id, root_key), a summary's `facet` says which columns of a
parent's rows lead to which of its own rows. What is found is what the tables hold now. Only reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor

from orchestration.project import project_dir
from sharding.model import INSPECTOR, Shard
from sharding.settings import project_root

Row = Mapping[str, Any]
_MOST = 20  # rows of one table that are told of one record


def trace(shard: Shard, work_dir: Path, source_id: int, natural_keys: Sequence[str]) -> dict[str, dict[str, list[Row]]]:
    """Natural key → table → rows by their key columns: of `keys`, of facts, and the facets of summaries.

    Nothing is told of a shard on which no model was built.
    """
    if not natural_keys:
        return {}
    from orchestration.dbt_worker import DbtProject  # 3 CPU-seconds

    project = DbtProject(project_dir(project_root(), work_dir), work_dir)
    project.parse()
    models = {n.name: n for n in project.manifest.nodes.values() if n.resource_type == "model"}
    with closing(psycopg2.connect(shard.as_role(INSPECTOR).dsn, application_name="larder blocks show")) as conn:
        conn.set_session(readonly=True, autocommit=True)
        tracer = _Tracer(conn, shard, models, project.manifest)
        return {key: tracer.of(source_id, key) for key in natural_keys}


class _Tracer:
    """A shard's tables as the models describe them."""

    def __init__(self, conn: Connection, shard: Shard, models: Mapping[str, Any], manifest: Any) -> None:
        self._conn, self._shard, self._models, self._manifest = conn, shard, models, manifest
        self._columns: dict[tuple[str, str], list[str]] = {}
        for schema, table, column in self._rows(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where table_schema = any(%s) order by ordinal_position",
            [shard.schema("keys"), shard.schema("marts")],
        ):
            self._columns.setdefault((schema, table), []).append(column)
        self._summaries = [name for name in self._in_order() if name.startswith("sum_") and self._facet(name)]

    def of(self, source_id: int, key: str) -> dict[str, list[Row]]:
        """Where one record is."""
        found: dict[str, list[Row]] = {}
        linked = f"select linked_key from {self._name('raw', 'link')} where source_id = %s and key = %s"
        roots = [key, *(row[0] for row in self._rows(linked, source_id, key))]
        marts: dict[str, list[dict[str, Any]]] = {}
        for (schema, table), columns in self._columns.items():
            if schema != self._shard.schema("keys") or not {"id", "source_id", "natural_key"} <= set(columns):
                continue
            if ids := self._dicts("keys", table, "source_id = %s and natural_key = %s", source_id, key):
                found[f"keys.{table}"] = [{"id": row["id"]} for row in ids]
        for name in [name for name in self._models if name.startswith("fct_")]:
            if rows := self._facts(name, source_id, roots, found):
                marts[name] = rows
                unique = self._models[name].config.get("unique_key")
                found[name] = [_only(row, [unique] if isinstance(unique, str) else unique) for row in rows]
        for name in self._summaries:
            if rows := self._facets(name, marts):
                marts[name] = rows
                found[name] = list({tuple(f.items()): f for f in (_only(r, self._facet(name)) for r in rows)}.values())
        return found

    def _facts(
        self, name: str, source_id: int, roots: Sequence[str], found: Mapping[str, list[Row]]
    ) -> list[dict[str, Any]]:
        columns = self._columns.get((self._shard.schema("marts"), name), [])
        if {"source_id", "root_key"} <= set(columns):
            return self._dicts("marts", name, "source_id = %s and root_key = any(%s)", source_id, list(roots))
        entity = name.removeprefix("fct_")
        ids = [row["id"] for row in found.get(f"keys.{entity}", [])]
        if ids and f"{entity}_id" in columns:
            return self._dicts("marts", name, f"{entity}_id = any(%s)", ids)
        return []

    def _facets(self, name: str, marts: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Rows of a summary in the facets that its parents' rows lead to."""
        facet = self._facet(name)
        wanted: dict[tuple[Any, ...], None] = {}
        for parent in self._parents(name):
            if len(self._facet(parent)) < len(facet) and parent.startswith("sum_"):
                continue  # coarser, such as a location's span: its rows are of other days too
            for row in marts.get(parent, []):
                if all(row.get(column) is not None for column in facet):
                    wanted[tuple(row[column] for column in facet)] = None
        if not wanted or not self._columns.get((self._shard.schema("marts"), name)):
            return []
        condition = " or ".join(["(" + " and ".join(f"{column} = %s" for column in facet) + ")"] * len(wanted))
        return self._dicts("marts", name, condition, *(value for values in wanted for value in values))

    def _facet(self, name: str) -> list[str]:
        return list(self._models[name].config.get("facet") or [])

    def _parents(self, name: str) -> set[str]:
        """The facts and summaries that a model reads, also through views."""
        found: set[str] = set()
        waiting = list(self._models[name].depends_on.nodes)
        while waiting:
            node = self._manifest.nodes.get(waiting.pop())
            if node is None:
                continue
            if node.name.startswith(("fct_", "sum_")):
                found.add(node.name)
            elif node.config.materialized != "changed_facets":
                waiting += node.depends_on.nodes
        return found

    def _in_order(self) -> list[str]:
        """Models, each after those that it reads."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in order:
                for parent in sorted(self._parents(name)):
                    visit(parent)
                order[name] = None

        for name in sorted(self._models):
            visit(name)
        return list(order)

    def _name(self, schema: str, table: str) -> str:
        return sql.Identifier(self._shard.schema(schema), table).as_string(self._conn)

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._conn.cursor() as cur:
            cur.execute(query, values)
            return cur.fetchall()

    def _dicts(self, schema: str, table: str, condition: str, *values: Any) -> list[dict[str, Any]]:
        with self._conn.cursor(cursor_factory=RealDictCursor) as cur:
            cur.execute(f"select * from {self._name(schema, table)} where {condition} limit {_MOST}", values)
            return [dict(row) for row in cur.fetchall()]


def _only(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {column: row[column] for column in columns}
