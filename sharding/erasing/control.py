"""What the control database holds of a business: its rows in every table that names it, and that it was erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import id_range

KEPT = frozenset({"erasures"})
"""Tables whose rows of the business stay: that it was erased, and that its number is taken."""


@dataclass(frozen=True)
class Erasure:
    """An erasure that was begun. `removed`: what was found of the business, part by part."""

    business: int
    name: str
    state: str
    begun_at: datetime
    finished_at: datetime | None = None
    removed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Nothing is left of the business."""
        return self.state == "done"


def begin(catalogue: Catalogue, name: str) -> Erasure:
    """Write down that a business is to be erased, and pause its sources; again, the erasure goes on.

    Raises:
        LarderError: turn `you`: there is no such business.
    """
    known = find(catalogue, name)
    if known is not None:
        return known
    business = catalogue.business(name)
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into control.erasures (business, name) values (%s, %s) on conflict do nothing",
            (business.id, business.name),
        )
        cursor.execute("update control.sources set state = 'paused' where business = %s", (business.id,))
    begun = find(catalogue, name)
    assert begun is not None
    return begun


def find(catalogue: Catalogue, name: str) -> Erasure | None:
    """The erasure of a business that has this name, or, where none has it now, of the last that had it."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select e.business, e.name, e.state, e.begun_at, e.finished_at, e.removed
            from control.erasures as e
            left join control.businesses as b using (business)
            where (e.name = %(name)s or e.business::text = %(name)s)
                and (e.state = 'begun' or not exists (select from control.businesses where name = %(name)s))
            order by e.begun_at desc limit 1
            """,
            {"name": name},
        )
        row = cursor.fetchone()
        return Erasure(*row) if row else None


def note(catalogue: Catalogue, erasure: Erasure, part: str, found: object) -> Erasure:
    """Keep what was found of a part, before it is taken away; what an earlier try found stays."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "update control.erasures set removed = jsonb_build_object(%s, %s::jsonb) || removed where business = %s",
            (part, Json(found), erasure.business),
        )
    return again(catalogue, erasure)


def again(catalogue: Catalogue, erasure: Erasure) -> Erasure:
    """The erasure as it stands now."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "select business, name, state, begun_at, finished_at, removed from control.erasures where business = %s",
            (erasure.business,),
        )
        [row] = cursor.fetchall()
        return Erasure(*row)


def finish(catalogue: Catalogue, erasure: Erasure) -> Erasure:
    """Delete the business's rows in the control database and close the erasure, in one transaction."""
    with catalogue.connect() as connection, connection.cursor() as cursor:
        counts = {table: count for table, count in _delete(cursor, erasure).items() if count}
        cursor.execute(
            "update control.erasures set state = 'done', finished_at = clock_timestamp(),"
            " removed = removed || jsonb_build_object('control database', %s::jsonb) where business = %s",
            (Json(counts), erasure.business),
        )
    return again(catalogue, erasure)


def owned(cursor: Cursor) -> dict[str, str]:
    """Table of the control database → condition on its rows of a business (`%(business)s`, `%(low)s`, `%(high)s`,
    `%(name)s`), those that refer to others first. Tables that only belong to such a one by a foreign key are in it."""
    cursor.execute(
        """
        select c.relname, a.attname, a.atttypid::regtype::text
        from pg_class as c
        inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'control'::regnamespace and c.relkind = 'r'
        """
    )
    columns: dict[str, dict[str, str]] = {}
    for table, column, type_ in cursor.fetchall():
        columns.setdefault(table, {})[column] = type_
    conditions = {}
    for table, types in columns.items():
        parts = []
        if types.get("source_id") == "bigint":
            parts.append("source_id between %(low)s and %(high)s")
        if types.get("business") in ("integer", "bigint"):
            parts.append("business = %(business)s")
        parts += [f"{name} = %(name)s" for name in ("business", "business_name") if types.get(name) == "text"]
        if parts and table not in KEPT:
            conditions[table] = " or ".join(parts)
    references = _references(cursor)
    for child, column, parent, key in references:
        if child not in conditions and parent in conditions and parent != "shards":
            conditions[child] = f"{column} in (select {key} from control.{parent} where {conditions[parent]})"
    ordered: dict[str, str] = {}
    while len(ordered) < len(conditions):
        free = [
            table
            for table in conditions
            if table not in ordered
            and all(child in ordered or child == table for child, _, parent, _ in references
                    if parent == table and child in conditions)
        ]  # fmt: skip
        if not free:
            raise LarderError("tables of the control database refer to each other in a ring", "us", "larder doctor")
        ordered |= {table: conditions[table] for table in sorted(free)}
    return ordered


def _references(cursor: Cursor) -> list[tuple[str, str, str, str]]:
    """(table, column, table it refers to, column there) of each foreign key of one column."""
    cursor.execute(
        """
        select f.conrelid::regclass::text, a.attname, f.confrelid::regclass::text, k.attname
        from pg_constraint as f
        inner join pg_attribute as a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
        inner join pg_attribute as k on k.attrelid = f.confrelid and k.attnum = f.confkey[1]
        where f.contype = 'f' and f.connamespace = 'control'::regnamespace and cardinality(f.conkey) = 1
        """
    )
    return [
        (child.removeprefix("control."), column, parent.removeprefix("control."), key)
        for child, column, parent, key in cursor.fetchall()
    ]


def _delete(cursor: Cursor, erasure: Erasure) -> dict[str, int]:
    low, high = id_range(erasure.business)
    values = {"business": erasure.business, "low": low, "high": high, "name": erasure.name}
    counts = {}
    for table, condition in owned(cursor).items():
        cursor.execute(
            sql.SQL("delete from {} where {}").format(sql.Identifier("control", table), sql.SQL(condition)), values
        )
        counts[table] = cursor.rowcount
    return counts
