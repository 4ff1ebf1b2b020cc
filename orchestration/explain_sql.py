"""The SQL of a summary, taken apart by lineage: from its table back to its facts, and from these back to raw records.

A summary's number is asked for again with every fact row put at a *place of its own* instead of its location: as models
are facet-local, one query over many made-up places gives what each record contributes. Models between the facts and the
summary are put into that query as dbt compiled them; between raw and the facts too, where other versions of the records
are to be read than those in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import cursor as Cursor

STORED = frozenset({"key_table", "conformed_key_table", "conformed_map", "table", "seed"})
"""Never computed again: what they hold outlives the records."""


@dataclass(frozen=True)
class Table:
    """A model as the database holds it: `columns` with their types; `code` is its SELECT."""

    name: str
    relation: str
    columns: Mapping[str, str]
    code: str = ""


@dataclass(frozen=True)
class Place:
    """What is explained: the column that says where with its value, and the days [first, until) of the facts."""

    column: str
    value: int
    first: str
    until: str


@dataclass(frozen=True)
class Lineage:
    """Names of the models: the summary, those between it and its facts (parents first, itself among them), the facts,
    and what is looked up."""

    summary: str
    between: tuple[str, ...]
    facts: tuple[str, ...]
    lookups: tuple[str, ...]


class Graph:
    """dbt's manifest, asked about parents."""

    def __init__(self, manifest: Any) -> None:
        self.nodes = {n.unique_id: n for n in manifest.nodes.values() if n.resource_type == "model"}
        self.sources = dict(manifest.sources)
        self.ids = {n.name: uid for uid, n in self.nodes.items()}
        self._raw: dict[str, frozenset[tuple[str, str]]] = {}

    def parents(self, name: str) -> list[str]:
        """Models that a model reads."""
        return [self.nodes[uid].name for uid in self.nodes[self.ids[name]].depends_on.nodes if uid in self.nodes]

    def raw(self, name: str) -> frozenset[tuple[str, str]]:
        """Raw streams (schema, stream) that a model is made of, through whatever is between."""
        if name not in self._raw:
            node = self.nodes[self.ids[name]]
            found = {
                (source.source_name, source.name.removesuffix("_current"))
                for uid in node.depends_on.nodes
                if (source := self.sources.get(uid)) and source.name.endswith("_current")
            }
            for parent in self.parents(name):
                found |= self.raw(parent)
            self._raw[name] = frozenset(found)
        return self._raw[name]

    def kind(self, name: str) -> str:
        """How a model is materialized."""
        return str(self.nodes[self.ids[name]].config.materialized)

    def key(self, name: str) -> list[str]:
        """Columns that identify a row."""
        given = self.nodes[self.ids[name]].config.get("unique_key") or []
        return [given] if isinstance(given, str) else list(given)

    def facet(self, name: str) -> list[str]:
        """The model's facet."""
        return list(self.nodes[self.ids[name]].config.get("facet") or [])

    def upstream(self, names: Iterable[str]) -> list[str]:
        """These models and all that they are made of."""
        found: dict[str, None] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in found:
                found[name] = None
                pending += self.parents(name)
        return list(found)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """The same names, parents first."""
        wanted, done = set(names), dict[str, None]()

        def visit(name: str) -> None:
            for parent in self.parents(name):
                if parent in wanted and parent not in done:
                    visit(parent)
            done[name] = None

        for name in sorted(wanted):
            if name not in done:
                visit(name)
        return list(done)


def lineage(graph: Graph, columns: Mapping[str, Mapping[str, str]], summary: str, place: str) -> Lineage:
    """From a summary up to its facts: the nearest models that say of a row where, when, and of which record it is."""
    between: dict[str, None] = {summary: None}
    facts: dict[str, None] = {}
    lookups: dict[str, None] = {}
    pending = [summary]
    while pending:
        for parent in graph.parents(pending.pop()):
            has = columns.get(parent, {})
            if parent in between or parent in facts or parent in lookups or not has:
                continue
            dated = place in has and "business_date" in has and bool(graph.raw(parent))
            if dated and "source_id" in has and record_of(graph, parent, has):
                facts[parent] = None
            elif place in has and graph.raw(parent) and graph.kind(parent) not in STORED and _is_dated(has):
                between[parent] = None
                pending.append(parent)
            else:
                lookups[parent] = None
    return Lineage(summary, tuple(graph.ordered(between)), tuple(sorted(facts)), tuple(lookups))


def record_of(graph: Graph, fact: str, columns: Mapping[str, str]) -> str | None:
    """How a fact row names its record: the column `root_key`, or the id whose key table does (`keys.shift`)."""
    if "root_key" in columns:
        return "root_key"
    ids = [column for column in graph.key(fact) if column.endswith("_id") and column in columns]
    return ids[0] if ids and f"keys_{ids[0].removesuffix('_id')}" in graph.ids else None


def _is_dated(columns: Mapping[str, str]) -> bool:
    return any(kind == "date" for kind in columns.values())


def recomputed(
    graph: Graph, columns: Mapping[str, Mapping[str, str]], facts: Sequence[str], streams: Iterable[tuple[str, str]]
) -> list[str]:
    """The facts and what is between them and these raw streams: what other versions of records change. What is made of
    many records at once (a model that follows changes, and does not name its record) is read as it is."""
    wanted = set(streams)
    return graph.ordered(
        name
        for name in graph.upstream(facts)
        if name in columns
        and graph.kind(name) not in STORED
        and graph.raw(name) & wanted
        and (name in facts or graph.kind(name) != "changed_facets" or "root_key" in columns[name])
    )


def _elsewhere(table: Table, place: Place, alias: str, value: str) -> str:
    """The columns of a table's rows, as though they stood at another place."""
    return ", ".join(
        f"{value}::{kind} as {column}" if column == place.column else f"{alias}.{column}"
        for column, kind in table.columns.items()
    )


def parts_query(
    graph: Graph,
    line: Lineage,
    tables: Mapping[str, Table],
    place: Place,
    keys: str,
    chosen: Sequence[str],
    again: Sequence[str] = (),
    raw: Mapping[str, str] | None = None,
) -> str:
    """What each part (a fact of a record) contributes to every number of the summary.

    Parameters of the query: arrays `models`, `sources`, `records` and `places` of the parts; with `again` (models that
    are computed from raw) also `versions`. `raw`: relation of a stream's current records → its table of versions.

    Returns the columns `chosen` of the summary; at the real place is what comes from no record.
    """
    made: list[str] = [
        "larder_part as (select * from unnest(%(models)s::text[], %(sources)s::bigint[], %(records)s::text[],"
        " %(places)s::bigint[]) as part (model, source_id, record, place))"
    ]
    fresh: dict[str, str] = {}
    for relation, versions in (raw or {}).items():
        name = f'"larder_raw_{len(fresh)}"'
        fresh[relation] = name
        made.append(f"{name} as (select * from {versions} where version_id = any(%(versions)s::bigint[]))")
    for name in again:
        code = _with(tables[name].code, fresh)
        fresh[tables[name].relation] = f'"larder_again_{name}"'
        made.append(f'"larder_again_{name}" as (\nselect {_typed(tables[name])} from (\n{_quoted(code)}\n) as t\n)')
    moved: dict[str, str] = {}
    for name in line.facts:
        table = tables[name]
        record = record_of(graph, name, table.columns)
        join, value = "", "fact.root_key"
        if record != "root_key":
            join = f" inner join {keys}.{str(record).removesuffix('_id')} as own on own.id = fact.{record}"
            value = "own.natural_key"
        moving = _elsewhere(table, place, "fact", "part.place")
        made.append(
            f'"larder_{name}" as (select {moving} from {fresh.get(table.relation, table.relation)} as fact{join}'
            f" inner join larder_part as part on part.model = '{name}' and part.source_id = fact.source_id"
            f" and part.record = {value} where fact.{place.column} = {place.value}"
            f" and fact.business_date >= '{place.first}' and fact.business_date < '{place.until}')"
        )
        moved[table.relation] = f'"larder_{name}"'
    for name in line.lookups:
        table = tables[name]
        if place.column not in table.columns:
            continue
        moving = _elsewhere(table, place, "looked_up", "place.value")
        made.append(
            f'"larder_{name}" as (select {moving} from {table.relation} as looked_up cross join'
            f" (select distinct place as value from larder_part union all select {place.value}) as place"
            f" where looked_up.{place.column} = {place.value})"
        )
        moved[table.relation] = f'"larder_{name}"'
    for name in line.between:
        code = _quoted(_with(tables[name].code, moved))
        moved[tables[name].relation] = f'"larder_{name}"'
        made.append(f'"larder_{name}" as (\nselect {_typed(tables[name])} from (\n{code}\n) as t\n)')
    return "with " + ",\n".join(made) + f'\nselect {", ".join(chosen)} from "larder_{line.summary}"'


def read_tables(cursor: Cursor, relations: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Columns with their types of each relation, by name; of none that does not exist."""
    cursor.execute(
        """
        select wanted.name, attname, format_type(atttypid, atttypmod)
        from unnest(%s::text[], %s::text[]) as wanted (name, relation)
        inner join pg_attribute on attrelid = to_regclass(wanted.relation) and attnum > 0 and not attisdropped
        order by wanted.name, attnum
        """,
        (list(relations), list(relations.values())),
    )
    found: dict[str, dict[str, str]] = {}
    for name, column, kind in cursor.fetchall():
        found.setdefault(name, {})[column] = kind
    return found


def _typed(table: Table) -> str:
    """As the table stores them: a numeric is rounded where it is written down, not only at the end."""
    return ", ".join(f'"{column}"::{kind} as "{column}"' for column, kind in table.columns.items())


def _with(code: str, names: Mapping[str, str]) -> str:
    for relation, name in names.items():
        code = code.replace(relation, name)
    return code


def _quoted(code: str) -> str:
    return code.replace("%", "%%")
