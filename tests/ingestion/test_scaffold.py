"""A new integration from a sample answer is valid, formatted and in step at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import jinja2
import psycopg2
import pytest

from ingestion.errors import ConfigError
from ingestion.generate import generated_files, stale
from ingestion.registry import BUILT_IN, discover, load_spec
from ingestion.scaffold import INTEGRATIONS, Sample, Scaffold, begin
from sharding.model import Shard
from sharding.settings import project_root

BILLS: dict[str, Any] = {
    "meta": {"nextCursor": "abc", "count": 2},
    "data": {
        "bills": [
            {
                "billId": 7001, "state": "paid", "openedAt": 1709298300000, "businessDay": "2024-03-01",
                "updated_at": "2024-03-01T13:05:00Z", "table": {"id": "t-4", "seats": 4}, "takeaway": False,
                "total": {"amount": 1234, "currency": "EUR"}, "tipAmount": "1.50", "costMicros": 120000, "covers": 3,
                "note": None, "tags": ["a"], "currencyCode": "EUR",
                "lines": [{"id": "l1", "name": "Tea", "qty": "2", "unitPrice": 2.25,
                           "addedAt": "Fri, 01 Mar 2024 13:01:00 +0000"}],
            },
            {"billId": 7002, "state": "open", "openedAt": 1709298400000, "updated_at": "2024-03-01T13:06:00Z",
             "lines": []},
        ]
    },
}  # fmt: skip


def sample(tmp_path: Path, body: Any = BILLS, stream: str = "bills") -> Sample:
    file = tmp_path / "sample.json"
    file.write_text(json.dumps(body))
    return Sample.read("corner_till", stream, file)


def test_what_is_seen_in_a_sample(tmp_path: Path) -> None:
    found = sample(tmp_path)
    assert (found.records_at, found.key, found.singular) == ("data.bills", "billId", "bill")
    assert found.modified == ("updated_at", "iso_offset")
    assert found.paging == "{type: cursor_query, cursor: meta.nextCursor}"
    assert found.currencies == ["currencyCode"] and found.money == "minor_units"
    assert {field.column: field.type for field in found.fields()} == {
        "bill_state": "text",
        "opened_at": "epoch_ms",
        "business_day": "date",
        "updated_at": "timestamp",
        "table_key": "id",
        "table_seats": "numeric",
        "takeaway": "boolean",
        "total": "minor_units",
        "tip_amount": "money",
        "cost_micros": "micros",
        "covers": "numeric",
        "currency_code": "text",
    }
    assert [(field.column, field.type) for field in found.fields("lines")] == [
        ("line_key", "id"),
        ("line_name", "text"),
        ("qty", "text"),
        ("unit_price", "money"),
        ("added_at", "timestamp"),
    ]


@pytest.mark.parametrize("body", [[], {}, 7, "text"])
def test_no_records_in_it(tmp_path: Path, body: Any) -> None:
    with pytest.raises(ConfigError, match="no records"):
        sample(tmp_path, body)


def test_nothing_identifies_the_records(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none can identify"):
        _ = sample(tmp_path, [{"a": 1}, {"a": 1}]).key


def test_valid_formatted_and_in_step_at_once(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(BUILT_IN, root / INTEGRATIONS, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    made = Scaffold(sample(tmp_path), "Corner Till", "pos", "https://api.corner.example", json.dumps(BILLS))
    written = begin(root, made)
    spec = load_spec(root / INTEGRATIONS / "corner_till" / "integration.yml")
    assert spec.stream("bills").natural_key == ("billId",) and spec.feeds == ()
    assert stale(root, generated_files(discover((root / INTEGRATIONS,)))) == []
    assert Path("dbt_project/models/staging/corner_till/_corner_till__sources.yml") in written
    models = [str(root / path) for path in written if path.suffix == ".sql" and "staging" in path.parts]
    assert len(models) == 2
    lint = [sys.executable, "-m", "sqlfluff", "lint", "--config", str(project_root() / ".sqlfluff"), *models]
    done = subprocess.run(lint, cwd=project_root(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(ConfigError, match="there already"):
        begin(root, made)


def test_the_models_give_what_the_sample_says(tmp_path: Path, shard: Shard) -> None:
    files = Scaffold(sample(tmp_path), "Corner Till", "pos", "https://x.example", "").files
    macros = "".join(
        (project_root() / "macros" / f"{name}.sql").read_text() for name in ("money", "instants", "elements")
    )

    def rows(model: str) -> list[dict[str, Any]]:
        text = files[Path("dbt_project/models/staging/corner_till") / f"{model}.sql"]
        environment = jinja2.Environment(extensions=["jinja2.ext.do"])
        sql = environment.from_string(macros + text).render(
            source=lambda *_: "bills", **{"return": lambda value: value}
        )
        with closing(psycopg2.connect(shard.dsn, options="-c timezone=UTC")) as conn, conn.cursor() as cur:
            cur.execute("create temporary table bills (source_id bigint, natural_key text, payload jsonb)")
            for record in BILLS["data"]["bills"]:
                cur.execute("insert into bills values (1, %s, %s)", (record["billId"], json.dumps(record)))
            cur.execute(sql)
            names = [column.name for column in cur.description or ()]
            return [dict(zip(names, map(str, row), strict=True)) for row in cur.fetchall()]

    first = rows("stg_corner_till__bills")[0]
    assert (first["bill_key"], first["opened_at"], first["total"]) == ("7001", "2024-03-01 13:05:00+00:00", "12.34")
    assert (first["cost_micros"][:4], first["tip_amount"], first["table_key"]) == ("0.12", "1.50", "t-4")
    (line,) = rows("stg_corner_till__bill_lines")
    assert (line["bill_key"], line["line_number"], line["unit_price"]) == ("7001", "1", "2.25")
    assert line["added_at"] == "2024-03-01 13:01:00+00:00"
