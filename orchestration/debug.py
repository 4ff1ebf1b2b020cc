"""One facet of one model, explained: what its parents hold of it, what its SELECT says now, and what its table holds.

dbt compiles the model as a build would (macros/changed_facets), without building; everything is read in read-only
transactions, the rows themselves in one, so that a build beside it shows no difference that is none.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import psycopg2
from psycopg2.extensions import cursor as Cursor

from ingestion.clock import real_time
from orchestration.dbt_worker import DbtProject
from orchestration.mark import code_fingerprint, look
from orchestration.results import Target
from orchestration.retarget import retarget
from orchestration.snapshot import snapshot
from orchestration.transform import connect
from sharding.errors import LarderError

Row = Mapping[str, Any]
Reads = Literal["facet", "slice", "twin", "whole"]

# Put around the SQL of the model and compiled in its place: tells what a build of it would read, as JSON.
PROBE = """
{%- do run_query("set transaction read only") -%}
{%- set sql -%}
MODEL
{% endset -%}
{%- do model.update({'raw_code': graph.nodes[model.unique_id].raw_code}) -%}
{%- set read = read_by(model) -%}

{%- set parents = [] -%}
{%- for feed in read.feeds -%}
  {%- set names_facet = is_cofaceted([feed]) -%}
  {%- do parents.append({'name': feed.name, 'relation': feed.relation, 'is_cofaceted': names_facet}) -%}
{%- endfor -%}
{%- for view in views_read_directly() -%}
  {%- set twin = context['changed_twin_of'](view.node) if context.get('changed_twin_of') else none -%}
  {%- set names_facet = is_cofaceted(read_by(view.node).feeds) -%}
  {%- do parents.append(
      {'name': view.node.name, 'relation': view.relation, 'is_cofaceted': names_facet, 'twin': twin}) -%}
{%- endfor -%}
{%- set named = [] -%}
{%- for parent in parents if parent.relation.render() in sql -%}
  {%- set restriction = slice_of(parent, columns_of(parent.relation)) -%}
  {%- set by_slice = parent.name in (config.get('slice') or {}) -%}
  {%- set reads = 'twin' if parent.twin else 'slice' if by_slice else 'whole' if restriction is none else 'facet' -%}
  {%- do named.append({
      'name': parent.name, 'relation': parent.relation.render(), 'restriction': restriction, 'reads': reads}) -%}
{%- endfor -%}
{%- set found = {'table': this.render(), 'sql': sql, 'parents': named, 'seen': none, 'news': [], 'due': 'no mark'} -%}
{%- if not named | selectattr('reads', 'equalto', 'twin') | list -%}
  {%- do found.update({'sliced': sliced_sql(sql, read.feeds)}) -%}
{%- endif -%}

{%- set mark = run_query(mark_sql(this)).rows[0] -%}
{%- if mark['seen'] -%}
  {%- set epochs, seen_epochs = fromjson(mark['epochs'] or '{}'), fromjson(mark['reads']) -%}
  {%- set lost, present = [], [] -%}
  {%- for feed in read.feeds -%}
    {%- set is_same = epochs.get(feed.label) == seen_epochs.get(feed.label, {}).get('epoch') -%}
    {%- do (present if is_same and columns_of(feed.feed) else lost).append(feed) -%}
  {%- endfor -%}
  {%- set due = none -%}
  {%- if mark['marked_cluster'] != mark['cluster'] -%}{%- set due = 'restored on another cluster' -%}
  {%- elif not same_code(fromjson(mark['code']), code_of_model(read.views)) -%}{%- set due = 'the model changed' -%}
  {%- elif lost -%}{%- set due = 'built anew: ' ~ lost | map(attribute='name') | join(', ') -%}
  {%- elif mark['is_pruned'] -%}{%- set due = 'its feeds do not reach back to its mark' -%}
  {%- endif -%}
  {%- set news = [] -%}
  {%- for feed in feeds_with_news(present, mark['seen']) -%}
    {%- if (config.get('facet_from') or {}).get(feed.name) != '' -%}{%- do news.append(feed) -%}{%- endif -%}
  {%- endfor -%}
  {%- do found.update({
      'seen': mark['seen'], 'due': due, 'news': news | map(attribute='name') | list,
      'touched': facets_sql(news, mark['seen']) if news else none}) -%}
{%- endif -%}
{{ tojson(found) }}
"""


@dataclass(frozen=True)
class Parent:
    """What a build reads of a parent: the first `rows` of `count`. Those of one read `whole` are only counted.

    A `twin` (macros/raw_slices.sql) shows rows to the build alone that writes down what it is about, so has no count.
    """

    name: str
    reads: Reads
    restriction: str | None
    count: int | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Difference:
    """A column of a row that the table holds and the SELECT gives, with another value."""

    key: Row
    column: str
    table: Any
    computed: Any


@dataclass(frozen=True)
class Compared:
    """What the SELECT gives now (`rows`) beside what the table holds. `missing` are not in it, `surplus` only there."""

    rows: tuple[Row, ...]
    held: int
    missing: tuple[Row, ...] = ()
    surplus: tuple[Row, ...] = ()
    differing: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the table holds exactly what the SELECT gives."""
        return not (self.missing or self.surplus or self.differing)


@dataclass(frozen=True)
class Explanation:
    """Everything about one facet of a model.

    `due`: why the next build computes the model whole; `news`: parents that changed since its mark; `touched`: whether
    that touches this facet; `behind`: models upstream that have yet to be built, or why all have. `local`: whether the
    SELECT over the facet's slice of the parents gives the same rows as over all; None where that cannot be tried
    without writing.
    """

    model: str
    shard: str
    facet: Mapping[str, Any]
    seen: str | None
    marked_at: Any
    changes: tuple[Row, ...]
    due: str | None
    news: tuple[str, ...]
    touched: bool
    behind: tuple[str, ...]
    parents: tuple[Parent, ...]
    compared: Compared
    local: bool | None


class Explainer(DbtProject):
    """A parsed dbt project that tells what a build would read."""

    def check(self, name: str, facet: Mapping[str, str]) -> None:
        """Whether there is such a model, whose facet has these columns.

        Raises:
            LarderError: turn `you`: no such model, one that has no facet, or other columns.
        """
        check_columns(name, self._model(name).config.get("facet"), facet)

    def explain(
        self, target: Target, name: str, facet: Mapping[str, str], limit: int = 10, timeout_seconds: float = 60
    ) -> Explanation:
        """Explain the facet of a model on a shard.

        Args:
            facet: the value of every facet column, as text; limit: how many rows of a parent are wanted.

        Raises:
            LarderError: turn `you` where model, columns, values or facet do not exist, or it takes too long.
        """
        self.check(name, facet)
        node = self._model(name)
        columns = node.config.get("facet")
        retarget(self.manifest, self._names, target.database, target.schema)
        try:
            with snapshot(target, "debug", timeout_seconds) as cursor:
                types = _column_types(cursor, target.schema(self._names[node.unique_id].schema), node.alias)
                if not types:
                    cause = f"{name} was never built on {target.name}"
                    raise LarderError(cause, "you", f"larder build --shard {target.name}")
                found = self._probe(target, node)
                found["behind"] = self._behind(target, node)
                return _explained(cursor, found, node, target, {c: facet[c] for c in columns}, types, limit)
        except psycopg2.DataError as error:
            raise LarderError(str(error.diag.message_primary), "you", "larder debug --help") from error

    def _model(self, name: str) -> Any:
        if self._manifest is None:
            self.parse()
        models = {n.name: n for n in self.manifest.nodes.values() if n.resource_type == "model"}
        node = models.get(name)
        if node is None:
            close = difflib.get_close_matches(name, models, 3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            cause = f"there is no model {name!r}{hint}"
            raise LarderError(
                cause, "you", f"larder debug {close[0]} --facet …" if close else "dbt ls --resource-type model"
            )
        kind = node.config.materialized
        if kind != "changed_facets" or not node.config.get("facet"):
            why = "small, and computed whole" if kind == "changed_facets" else f"a {kind}, which keeps none"
            raise LarderError(f"{name} has no facet: it is {why}", "you", f"dbt show --select {name}")
        return node

    def _behind(self, target: Target, node: Any) -> tuple[str, ...]:
        """Models upstream with news that they have not seen: what this one reads of them is yesterday's."""
        with closing(connect(target)) as connection:
            connection.set_session(readonly=True)
            seen = look(connection, target.schema, code_fingerprint(self.project_dir), real_time())
        if seen.whole:
            return (f"all models: {seen.whole}",)
        upstream, level = set[str](), list(node.depends_on.nodes)
        while level:
            parent = self.manifest.nodes.get(level.pop())
            if parent is not None and parent.name not in upstream:
                upstream.add(parent.name)
                level += parent.depends_on.nodes
        return tuple(model for model in seen.stale if model in upstream)

    def _probe(self, target: Target, node: Any) -> dict[str, Any]:
        """What a build would read, as macros/changed_facets says it in the context of the model."""
        written = node.raw_code
        node.raw_code = PROBE.replace("MODEL", written)
        try:
            with contextlib.chdir(self.project_dir):
                place = str(self.work_dir / "debug")
                outcome = self._invoke(
                    target, ["compile", "--select", node.name, "--target-path", place, "--no-write-json"]
                )
        finally:
            node.raw_code = written
        results = list(getattr(outcome.result, "results", None) or ())
        if not outcome.success or not results:
            said = next((r.message for r in results if r.message), outcome.exception)
            raise LarderError(f"{node.name} does not compile: {said}", "you", f"dbt compile --select {node.name}")
        found: dict[str, Any] = json.loads(results[0].node.compiled_code)
        return found


def check_columns(model: str, columns: Sequence[str], given: Mapping[str, str]) -> None:
    """Raises LarderError, turn `you`, unless `given` names exactly the facet's columns."""
    unknown, absent = [c for c in given if c not in columns], [c for c in columns if c not in given]
    if unknown or absent:
        what = f"{', '.join(unknown)} is no facet column of {model}" if unknown else f"{', '.join(absent)} is not given"
        wanted = ",".join(f"{column}=…" for column in columns)
        cause = f"{what}; its facet is ({', '.join(columns)})"
        raise LarderError(cause, "you", f"larder debug {model} --facet {wanted}")


def compare(computed: Sequence[Row], held: Sequence[Row], key: Sequence[str]) -> Compared:
    """Rows of the same columns, by `key`."""
    now, was = ({tuple(row[column] for column in key): row for row in rows} for rows in (computed, held))
    differing = [
        Difference({k: row[k] for k in key}, column, was[id_][column], row[column])
        for id_, row in now.items()
        if id_ in was
        for column in row
        if row[column] != was[id_][column]
    ]
    return Compared(
        tuple(computed),
        len(held),
        tuple(row for id_, row in now.items() if id_ not in was),
        tuple(row for id_, row in was.items() if id_ not in now),
        tuple(differing),
    )


def _explained(
    cursor: Cursor,
    found: Mapping[str, Any],
    node: Any,
    target: Target,
    facet: Mapping[str, str],
    types: Mapping[str, str],
    limit: int,
) -> Explanation:
    columns = ", ".join(facet)
    values = cursor.mogrify(", ".join(f"%s::{types[c]} as {c}" for c in facet), tuple(facet.values())).decode()
    facets = f"with facets as (select {values})"
    here = f"({columns}) in (select {columns} from facets)"

    def rows(query: str, most: int | None = None) -> list[Row]:
        cursor.execute(f"{facets} {query}" + (f" limit {most}" if most is not None else ""))
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    held_columns = {c: t for c, t in types.items() if c in _columns(cursor, found["sql"])}
    as_held = ", ".join(f"{column}::{kind} as {column}" for column, kind in held_columns.items())
    computed = rows(f"select {as_held} from (\n{found['sql']}\n) as computed where {here}")
    held = rows(f"select {', '.join(held_columns)} from {found['table']} where {here}")
    key = node.config.get("unique_key")
    key = [key] if isinstance(key, str) else key

    parents = []
    for parent in found["parents"]:
        count, few = None, list[Row]()
        if parent["reads"] != "twin":
            part = f"from {parent['relation']} where {parent['restriction'] or 'true'}"
            count = rows(f"select count(*) as n {part}")[0]["n"]
            few = rows(f"select * {part}", limit) if parent["restriction"] else []
        parents.append(Parent(parent["name"], parent["reads"], parent["restriction"], count, tuple(few)))
    if not (computed or held or any(p.rows for p in parents)):
        said = ", ".join(f"{column} = {value}" for column, value in facet.items())
        known = f"select distinct {columns} from {node.schema}.{node.alias} limit 20"
        raise LarderError(
            f"{node.name} on {target.name} has no facet {said}: neither its table nor a parent has a row of it",
            "you",
            f'larder sql --shard {target.name} "{known}"',
        )

    local = None
    if "sliced" in found:
        sliced = rows(f"select {as_held} from (\n{found['sliced']}\n) as computed")
        local = compare(sliced, computed, key).equal
    touched = False
    if found.get("touched"):
        # the statement makes a table of them, which a reader may not
        of_changes = re.sub(r"\A\s*create temporary table facets on commit drop as\s", "", found["touched"])
        touched = bool(rows(f"select from (\n{of_changes}\n) as touched where {here}"))
    [marked] = rows(f"select max(marked_at) as at from {target.schema('meta')}.mark where model = '{node.name}'")
    changes = rows(
        "select run_at, inserted, deleted, unchanged, facets, reason, seconds"
        f" from {target.schema('meta')}.model_change where model = '{node.name}' order by run_at desc limit 5"
    )
    typed = rows("select * from facets")[0]
    return Explanation(
        node.name, target.name, typed, found["seen"], marked["at"], tuple(changes), found["due"], tuple(found["news"]),
        touched, found["behind"], tuple(parents), compare(computed, held, key), local,
    )  # fmt: skip


def _column_types(cursor: Cursor, schema: str, table: str) -> dict[str, str]:
    cursor.execute(
        """
        select attname, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and attnum > 0 and not attisdropped
        order by attnum
        """,
        (schema, table),
    )
    return dict(cursor.fetchall())


def _columns(cursor: Cursor, sql: str) -> set[str]:
    cursor.execute(f"select * from (\n{sql}\n) as computed limit 0")
    return {column.name for column in cursor.description or ()}
