"""Every vendor's recorded pages give the rows that were worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from tests.recorded.conftest import Built
from tests.recorded.pages import Recording

HERE = Path(__file__).parent
RECORDINGS = [Recording.read(path.parent) for path in sorted(HERE.glob("*/expected.yml"))]
CASES = [(recording.vendor, relation) for recording in RECORDINGS for relation in recording.expected]

Row = dict[str, str | None]


@pytest.mark.parametrize("vendor", [recording.vendor for recording in RECORDINGS])
def test_pages_load_whole(built: Built, vendor: str) -> None:
    assert built.problems[vendor] == []


def test_everything_builds(built: Built) -> None:
    assert built.result.error is None
    assert [(node.name, node.message) for node in built.result.failed] == []


@pytest.mark.parametrize(("vendor", "relation"), CASES)
def test_rows_are_those_worked_out_by_hand(built: Built, vendor: str, relation: str) -> None:
    expected = next(r for r in RECORDINGS if r.vendor == vendor).expected[relation]
    columns = list(expected[0]) if expected else []
    odd = [row for row in expected if list(row) != columns and set(row) != set(columns)]
    assert odd == [], f"rows of {relation} must all have the columns {columns}"
    kinds, rows = found(built, relation, built.businesses[vendor], columns)
    wanted = sorted((normal(row, kinds) for row in expected), key=repr)
    got = sorted((normal(row, kinds) for row in rows), key=repr)
    assert got == wanted, difference(vendor, relation, got, wanted)


def found(built: Built, relation: str, business: int, columns: list[str]) -> tuple[dict[str, str], list[Row]]:
    """Types of the columns, and the business's rows as text. Keys and names stand for ids that have none."""
    described = dict(
        built.rows(
            "select attname::text, format_type(atttypid, null) from pg_attribute"
            " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
            f"marts.{relation}",
        )
    )
    assert described, f"there is no marts.{relation}; the build: {failures(built)}"
    keys = {name for (name,) in built.rows("select tablename::text from pg_tables where schemaname = 'keys'")}
    selected, joins = [], []
    for column in columns:
        thing = column.removesuffix("_key").removesuffix("_name")
        if column in described:
            selected.append(f'r."{column}"::text')
            continue
        assert f"{thing}_id" in described, f"marts.{relation} has no {column}; it has {', '.join(described)}"
        if column.endswith("_name"):
            table, shown = thing, "name"
        else:
            table = thing if thing in keys and thing != "campaign" else f"source_{thing}"
            shown = "natural_key"
        joins.append(f'left join keys."{table}" as "{column}" on "{column}".id = r."{thing}_id"')
        selected.append(f'"{column}".{shown}')
        described[column] = "text"
    owner = next(name for name in ("source_id", "business_id") if name in described)
    query = f"select {', '.join(selected) or '1'} from marts.{relation} as r {' '.join(joins)}"
    rows = built.rows(f"{query} where keys.business_of(r.{owner}) = %s", business)
    return described, [dict(zip(columns, row, strict=False)) for row in rows]


def normal(row: Row, kinds: dict[str, str]) -> dict[str, object]:
    """A row whose values compare as their types do: 12.50 is 12.5, and an instant is one whatever its offset."""
    return {column: _normal(value, kinds[column]) for column, value in row.items()}


def _normal(value: str | None, kind: str) -> object:
    if value is None:
        return None
    try:
        if kind in ("numeric", "integer", "bigint", "smallint", "double precision"):
            return format(Decimal(value).normalize(), "f")
        if kind == "timestamp with time zone":
            return datetime.fromisoformat(value).astimezone(UTC).isoformat()
        if kind == "timestamp without time zone":
            return datetime.fromisoformat(value).isoformat()
    except (InvalidOperation, ValueError):
        return value  # not of the column's type: shown as it is, and different
    return value


def difference(vendor: str, relation: str, got: list[dict[str, object]], wanted: list[dict[str, object]]) -> str:
    """The rows that differ, each beside the one it resembles most."""
    missing = [row for row in wanted if row not in got]
    surplus = [row for row in got if row not in wanted]
    lines = [f"{vendor}: {relation}: {len(wanted)} rows expected, {len(got)} found"]
    for row in missing:
        lines.append(f"  expected {row}")
        if surplus:
            near = min(surplus, key=lambda other: sum(other[column] != row[column] for column in row))
            surplus.remove(near)
            lines += [f"     found {near}", "    differs in " + ", ".join(
                f"{c}: {row[c]} expected, {near[c]} found" for c in row if row[c] != near[c])]  # fmt: skip
    return "\n".join(lines + [f"  not expected {row}" for row in surplus])


def failures(built: Built) -> list[tuple[str, str | None]]:
    return [(node.name, node.message) for node in built.result.failed]
