"""One account, on one snapshot: what the number is made of, and how it came to be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from psycopg2.extensions import cursor as Cursor

from ingestion.registry import discover
from orchestration.dbt_worker import DbtProject
from orchestration.explain_account import Account, Amounts, Change, Decision, Part, less, said, same, total
from orchestration.explain_history import (
    Key,
    Version,
    arrivals,
    belonging,
    changed_records,
    groups,
    read_versions,
    relation,
)
from orchestration.explain_sql import (
    Graph,
    Lineage,
    Place,
    Table,
    lineage,
    parts_query,
    read_tables,
    recomputed,
    record_of,
)
from orchestration.reproduce_case import is_thing
from orchestration.results import Target
from sharding.errors import LarderError
from sharding.ids import business_of, make_id

PartKey = tuple[str, int, str]  # fact, source, record
Sums = dict[str, Amounts]  # by column
MOST_CHANGED = 2000  # records that changed, which are looked through for such as left the number
_FIRST_PLACE = 1 << 44  # numbers of made-up places: beyond all that a business ever drew
_FIRST_BUSINESS = 1_000_000
_NUMBERS = ("numeric", "bigint", "integer", "smallint")
_SHOWN_FIRST = ("net_sales", "labour_cost", "spend")


class Work:
    """One account, on one snapshot."""

    def __init__(
        self, project: DbtProject, graph: Graph, target: Target, cursor: Cursor, model: str, place: tuple[str, int],
        day: date, column: str | None,
    ) -> None:  # fmt: skip
        self.graph, self.cursor, self.model, self.day = graph, cursor, model, day
        self.raw, self.keys = target.schema("raw"), target.schema("keys")
        nodes = {name: graph.nodes[graph.ids[name]] for name in graph.upstream([model])}
        relations = {name: node.relation_name for name, node in nodes.items() if node.relation_name}
        self.columns = read_tables(cursor, relations)
        if model not in self.columns:
            raise LarderError(f"{model} was never built on {target.name}", "you", f"larder build --shard {target.name}")
        own = self.columns[model]
        dates = [name for name in graph.facet(model) if own.get(name) == "date"]
        if place[0] not in graph.facet(model) or not dates:
            facet = ", ".join(graph.facet(model))
            raise LarderError(
                f"{model} is not of a {place[0]} and a day: its facet is ({facet})", "you", "larder debug"
            )
        self.dated = dates[0]
        self.place = Place(*place, *_days(self.dated, day))
        self.measures = [
            name
            for name, kind in own.items()
            if kind.startswith(_NUMBERS) and not name.endswith("_id") and name not in graph.key(model)
        ]
        if column is not None and column not in self.measures:
            said = f"{model} has no number {column!r}; it has {', '.join(self.measures)}"
            raise LarderError(said, "you", f"larder explain {model} … --column {self.measures[0]}")
        chosen = next((name for name in _SHOWN_FIRST if name in self.measures), "")
        self.column = column or chosen or self.measures[0]
        self.line: Lineage = lineage(graph, self.columns, model, place[0])
        self.streams = self._streams(target)
        self.again = recomputed(graph, self.columns, self.line.facts, self.streams)
        wanted = [*self.line.between, *self.again]
        compiled, error = project.compiled(target, " ".join(wanted))
        if error is not None:
            raise LarderError(f"{model} does not compile: {error}", "us", f"dbt compile --select {model}")
        self.tables = {
            name: Table(name, relations[name], self.columns[name], compiled.get(name, ("", ""))[1])
            for name in self.columns
        }

    def account(self) -> Account:
        """All of it."""
        number = self._held()
        keys = self._records()
        every, links = belonging(self.cursor, self.raw, [key for _, key in keys])
        versions = read_versions(self.cursor, self.raw, self.streams, every)
        sides = groups(every, links)
        found = self._amounts(self._parts(keys), None)
        apart = found.pop(None, {}).get(self.column, {})
        per_part = {part: sums for part, sums in found.items() if part is not None}
        by_side: dict[Key, list[Version]] = defaultdict(list)
        for version in versions:
            by_side[sides[version.key]].append(version)
        parts = tuple(
            Part(fact, source, record, amounts.get(self.column, {}), tuple(by_side[sides[source, record]]))
            for (fact, source, record), amounts in sorted(per_part.items())
        )
        together = total([apart, *(part.amounts for part in parts)])
        told = Account(self.model, self.column, number, parts, apart, same(together, number), tuple(self._decisions()))
        if told.adds_up:
            self._tell_history(told, keys)
        else:
            told.why_not = "its parts do not add up, so neither do their changes"
        return told

    def _held(self) -> Amounts:
        """What the table holds, by currency. LarderError if it has no row there."""
        currency = "currency" if "currency" in self.columns[self.model] else "''"
        self.cursor.execute(
            f"select {currency}, sum({self.column}) from {self.tables[self.model].relation}"
            f" where {self.place.column} = %s and {self.dated} = %s group by 1",
            (self.place.value, self.day),
        )
        rows = self.cursor.fetchall()
        if not rows:
            said = f"{self.model} has no row of {self.place.column} {self.place.value} with {self.dated} {self.day}"
            known = f"select distinct {self.dated} from {{marts}}.{self.model} order by 1 desc limit 20"
            raise LarderError(said, "you", f'larder sql "{known}"')
        return {code: Decimal(amount) for code, amount in rows if amount is not None}

    def _records(self) -> list[tuple[str, Key]]:
        """Facts at the place on its days, with their records."""
        found: list[tuple[str, Key]] = []
        for fact in self.line.facts:
            join, value = self._record_sql(fact)
            self.cursor.execute(
                f"select distinct fact.source_id, {value} from {self.tables[fact].relation} as fact{join}"
                f" where fact.{self.place.column} = %s and fact.business_date >= %s and fact.business_date < %s",
                (self.place.value, self.place.first, self.place.until),
            )
            found += [(fact, (source, record)) for source, record in self.cursor.fetchall()]
        return found

    def _record_sql(self, fact: str) -> tuple[str, str]:
        column = record_of(self.graph, fact, self.columns[fact])
        if column == "root_key":
            return "", "fact.root_key"
        entity = str(column).removesuffix("_id")
        return f" inner join {self.keys}.{entity} as own on own.id = fact.{column}", "own.natural_key"

    def _parts(self, records: Iterable[tuple[str, Key]]) -> list[PartKey]:
        return sorted({(fact, source, record) for fact, (source, record) in records})

    def _amounts(self, parts: Sequence[PartKey], versions: Sequence[int] | None) -> dict[PartKey | None, Sums]:
        """What each part contributes to every number; None: what comes from no record. With `versions` the facts are
        made anew of these, else read as they are."""
        again = self.again if versions is not None else ()
        tables = {name: node for name, node in self._current().items() if name in self.streams} if again else {}
        whole = self.place.column == "location_id"
        business = business_of(self.place.value) if whole else 0
        numbers = [make_id(business, _FIRST_PLACE + n) if whole else _FIRST_BUSINESS + n for n in range(len(parts))]
        of_place: dict[int, PartKey] = dict(zip(numbers, parts, strict=True))
        values = {
            "models": [fact for fact, _, _ in parts],
            "sources": [source for _, source, _ in parts],
            "records": [record for _, _, record in parts],
            "places": numbers,
            "versions": list(versions or ()),
            "day": self.day,
        }
        has_currency = "currency" in self.columns[self.model]
        chosen = [self.place.column, "currency" if has_currency else "''", *self.measures]
        query = parts_query(
            self.graph, self.line, self.tables, self.place, self.keys, chosen, again,
            {current: self.streams[stream] for stream, current in tables.items()},
        )  # fmt: skip
        self.cursor.execute(f"{query} where {self.dated} = %(day)s", values)
        found: dict[PartKey | None, Sums] = {}
        for at, currency, *amounts in self.cursor.fetchall():
            sums = found.setdefault(of_place.get(at), {})
            for name, amount in zip(self.measures, amounts, strict=True):
                if amount is not None:
                    by_currency = sums.setdefault(name, {})
                    by_currency[currency] = by_currency.get(currency, Decimal(0)) + Decimal(amount)
        return found

    def _streams(self, target: Target) -> dict[tuple[str, str], str]:
        """Raw streams that the facts are made of and this shard has, with their tables of versions; not those of sites,
        people and articles, which records only name."""
        things = {
            (f"raw_{name}", stream.name)
            for name, spec in discover().items()
            for stream in spec.streams
            if is_thing(stream)
        }
        wanted = {stream for fact in self.line.facts for stream in self.graph.raw(fact)} - things
        names = {stream: relation(self.cursor, target.schema(stream[0]), stream[1]) for stream in sorted(wanted)}
        there = read_tables(self.cursor, {table: table for table in names.values()})
        return {stream: table for stream, table in names.items() if table in there}

    def _current(self) -> dict[tuple[str, str], str]:
        """Stream → the relation of its current records, as compiled models name it."""
        return {
            (source.source_name, source.name.removesuffix("_current")): source.relation_name
            for source in self.graph.sources.values()
            if source.name.endswith("_current")
        }

    def _decisions(self) -> Iterator[Decision]:
        """Maps to this place and its settings, as far as a person decided them."""
        if self.place.column != "location_id":
            return
        questions = (
            ("location_map", "'its numbers take in site ' || source_location_id"),
            ("campaign_location_map", "'it pays for campaign ' || source_campaign_id"),
            ("location_setting", "'time zone ' || timezone || ', the day begins at ' || day_start"),
        )
        for table, words in questions:
            self.cursor.execute(
                f"select decided_at, decided_by, {words} || ', from ' || valid_from || ' until ' || valid_to"
                f" from {self.keys}.{table} where location_id = %s and decided_by not in ('rule', 'vendor')"
                " order by decided_at",
                (self.place.value,),
            )
            yield from (Decision(*row) for row in self.cursor.fetchall())

    def _tell_history(self, told: Account, records: Sequence[tuple[str, Key]]) -> None:
        """Fill in `history`: the facts made anew of the versions that each block left in force."""
        if not self.again:
            told.why_not = "its facts are not made of raw records"
            return
        keys = {key for _, key in records} | self._same_facets()
        sources = sorted({source for source, _ in keys}) or self._sources()
        changed = changed_records(self.cursor, self.raw, self.streams, sources, self.place.first, MOST_CHANGED)
        if len(changed) > MOST_CHANGED:
            told.why_not = (
                f"more than {MOST_CHANGED} records changed since: such as left this number are not among them"
            )
            changed = []
        every, links = belonging(self.cursor, self.raw, [*keys, *changed])
        sides = groups(every, links)
        if any(record_of(self.graph, fact, self.columns[fact]) != "root_key" for fact in self.line.facts):
            sides = dict.fromkeys(every, (0, ""))  # what a record comes to depends on others (a week's overtime)
        versions = read_versions(self.cursor, self.raw, self.streams, every)
        members: dict[Key, list[Key]] = defaultdict(list)
        for key, side in sides.items():
            members[side].append(key)
        now: dict[PartKey, Amounts] = {}
        changes: list[Change] = []
        after: Amounts = dict(told.apart)
        for batch, state in arrivals(versions):
            touched = {sides[version.key] for version in batch}
            touched_keys = [key for side in touched for key in members[side]]
            was = {part: now[part] for part in now if sides[part[1], part[2]] in touched}
            is_now = self._of_versions(touched_keys, state)
            moved: dict[str, list[tuple[Key, Amounts]]] = defaultdict(list)
            for part in sorted({*was, *is_now}):
                delta = less(is_now.get(part, {}), was.get(part, {}))
                if delta:
                    moved[part[0]].append((part[1:], delta))
                now.pop(part, None)
            now |= is_now
            for fact, each in moved.items():
                amounts = total(delta for _, delta in each)
                after = total([after, amounts])
                first = batch[0]
                changes.append(
                    Change(first.arrived, first.block_id, fact, amounts, tuple(key for key, _ in each), after)
                )
        if same(after, told.number):
            told.history = tuple(changes)
        else:
            told.why_not = (
                "made anew of the records' versions with today's ids, maps and settings it comes to"
                f" {said(after)}: what else it depends on changed meanwhile, or is still to be built"
            )

    def _of_versions(self, keys: Sequence[Key], state: Mapping[Any, Version]) -> dict[PartKey, Amounts]:
        wanted = set(keys)
        versions = [v.version_id for v in state.values() if v.key in wanted and not v.is_deletion]
        parts = self._parts((fact, key) for fact in self.line.facts for key in wanted)
        found = self._amounts(parts, versions) if versions else {}
        return {part: sums[self.column] for part, sums in found.items() if part is not None and sums.get(self.column)}

    def _same_facets(self) -> set[Key]:
        """Records of facts whose rows depend on other records: all of the same facets."""
        found: set[Key] = set()
        for fact in self.line.facts:
            facet = self.graph.facet(fact)
            if "root_key" in facet or not facet:
                continue
            join, value = self._record_sql(fact)
            table, columns = self.tables[fact].relation, ", ".join(facet)
            self.cursor.execute(
                f"select distinct fact.source_id, {value} from {table} as fact{join}"
                f" where ({', '.join(f'fact.{column}' for column in facet)}) in (select {columns} from {table}"
                f" where {self.place.column} = %s and business_date >= %s and business_date < %s)",
                (self.place.value, self.place.first, self.place.until),
            )
            found |= set(self.cursor.fetchall())
        return found

    def _sources(self) -> list[int]:
        business = business_of(self.place.value) if self.place.column == "location_id" else self.place.value
        self.cursor.execute(f"select id from {self.keys}.source where {self.keys}.business_of(id) = %s", (business,))
        return [row[0] for row in self.cursor.fetchall()]


def _days(column: str, day: date) -> tuple[str, str]:
    """The days that a row of a date column is about, [first, until)."""
    if "week" in column:
        return str(day), str(day + timedelta(days=7))
    if "month" in column:
        return str(day), str((day.replace(day=1) + timedelta(days=32)).replace(day=1))
    return str(day), str(day + timedelta(days=1))
