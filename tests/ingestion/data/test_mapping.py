"""What a mapping may say, and that its entities are those of the unions."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ingestion.data.entities import ENTITIES
from ingestion.data.mapping import parse_mapping, read_mapping
from ingestion.errors import ConfigError

ROOT = Path(__file__).parents[3]
# unpaid breaks are a range of times: no cell holds one
LEFT_OUT = {"source_id", "natural_key", "root_key", "unpaid_breaks"}


def unions() -> dict[str, dict[str, Any]]:
    """Entity → column → its entry in the YAML of its union."""
    found: dict[str, dict[str, Any]] = {}
    for file in (ROOT / "dbt_project/models/intermediate").glob("*/*.yml"):
        for model in (yaml.safe_load(file.read_text()) or {}).get("models", ()):
            if model["name"].endswith("__unioned"):
                entity = model["name"].removeprefix("int_").removesuffix("s__unioned")
                found[entity] = {column["name"]: column for column in model["columns"]}
    return found


def test_entities_are_those_of_the_unions() -> None:
    declared = unions()
    assert set(ENTITIES) == set(declared)
    for entity, columns in declared.items():
        assert set(ENTITIES[entity]) == set(columns) - LEFT_OUT, entity
        for name, column in columns.items():
            tests = column.get("data_tests", ())
            if name not in LEFT_OUT and "not_null" in tests and (entity, name) != ("sale", "tax"):
                field = ENTITIES[entity][name]
                assert field.required or field.default is not None, f"{entity}.{name}"
            accepted = [test["accepted_values"]["arguments"]["values"] for test in tests if isinstance(test, dict)]
            if accepted:
                assert list(ENTITIES[entity][name].values) == accepted[0], f"{entity}.{name}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rows: 5", ":1: rows: "),
        ("rows:\n  - files: a\n    into:\n      - {entity: sale, key: [a], columns: {total: a}}",
         ":4: rows.0.into.0: sale has no column 'total'; it has: "),
        ("rows:\n  - files: a\n    into:\n      - {entity: sale, key: [a], columns: {location_key: a}}",
         ":4: rows.0.into.0: sale needs the column 'currency'"),
        ("rows:\n  - files: a\n    into:\n      - {table: t}", ":2: rows.0: files need a `key` for each target"),
        ("rows:\n  - files: a\n    into:\n      - {table: sale, key: [a]}",
         "a table of your own cannot be called 'sale'"),
        ("rows:\n  - files: a\n    cursor: b\n    into:\n      - {table: t, key: [a]}",
         "files are read as `append` or `snapshot`"),
        ("rows:\n  - database_table: a\n    time_zone: Mars\n    into:\n      - {table: t}", "'Mars' is no time zone"),
        ("rows:\n  - {database_table: a, into: [{table: t}]}\n  - {database_table: b, into: [{table: t}]}",
         "t comes from two database tables"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mapping.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_mapping(file)
    assert said in error.value.cause, error.value.cause


def test_how_rows_are_read_follows_from_what_they_are() -> None:
    into = [{"table": "t", "key": ["a"]}]
    rows = [
        {"files": "a"},
        {"database_table": "a"},
        {"database_table": "a", "cursor": "c"},
        {"database_table": "a", "window": "w"},
    ]
    found = [parse_mapping({"rows": [{**one, "into": into}]}, "").rows[0].read for one in rows]
    assert found == ["append", "snapshot", "cursor", "window"]
