"""Files in all their spellings → rows with their lines; a wrong row is told, a wrong file is refused."""

import gzip
import json
import zipfile
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ingestion.data.files import Folder
from ingestion.data.mapping import Mapping as SourceMapping
from ingestion.data.mapping import Rows
from ingestion.data.preview import guess
from ingestion.data.records import NoColumn, Recorder, Row, plain_names
from ingestion.errors import DataError

INTO = [{"table": "t", "key": ["$file", "$line"]}]


def read(folder: Path, files: str, **settings: Any) -> list[Row]:
    rows = Rows.model_validate({"files": files, "into": INTO, **settings})
    store = Folder(str(folder))
    return [row for file in store.matching(rows) for row in store.rows(file, rows)]


def cells(rows: list[Row]) -> list[Mapping[str, Any]]:
    return [row.cells for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1251"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    lines = [f"Кав'ярня на Подолі номер {number};{number},5" for number in range(40)]
    (tmp_path / "a.csv").write_bytes("\r\n".join(["Назва;Сума", *lines]).encode(encoding))
    found = read(tmp_path, "a.csv")
    assert found[39].cells == {"Назва": "Кав'ярня на Подолі номер 39", "Сума": "39,5"}
    assert found[39].line == 41


def test_lines_count_as_an_editor_counts_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('Report of May\n\na,b\n1,"two\nlines"\n\n3,4\n5,6,7\n8\n')
    found = read(tmp_path, "a.csv", skip=2)
    assert [(row.line, dict(row.cells)) for row in found] == [
        (4, {"a": "1", "b": "two\nlines"}),
        (7, {"a": "3", "b": "4"}),
        (8, {"a": "5", "b": "6", "cell 3": "7"}),
        (9, {"a": "8", "b": None}),
    ]
    assert [row.problem for row in found] == [None, None, "it has 3 cells, the header has 2", None]


def test_bytes_of_another_encoding_spoil_their_row_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,ok\n2,\xff\xfe\n3,\x00\n4,ok\n")
    found = read(tmp_path, "a.csv", encoding="utf-8")
    assert [row.problem for row in found] == [
        None, "it holds bytes that are not utf-8", "it holds a NUL character", None,
    ]  # fmt: skip
    assert found[1].cells["b"] == r"\xff\xfe"


def test_headers_are_names_once_each(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(" Net  Sales \tNet Sales\t\tday\n1\t2\t3\t4\n")
    assert cells(read(tmp_path, "a.tsv")) == [{"Net Sales": "1", "Net Sales 2": "2", "column 3": "3", "day": "4"}]
    assert plain_names(["Net Sales (USD)", "net sales usd", "2024", "Сума"]) == {
        "Net Sales (USD)": "net_sales_usd", "net sales usd": "net_sales_usd_2", "2024": "_2024", "Сума": "сума",
    }  # fmt: skip


def test_packed_json_jsonl_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "b.json").write_text(json.dumps({"data": {"list": [{"a": 1, "b": {"c": [1]}}, {"d": 0}]}}))
    (tmp_path / "c.jsonl").write_text('{"a": 12345678901234567890.123456789}\nnot json\n{"b": true}\n')
    money = pa.array([Decimal("10.10"), None], pa.decimal128(12, 2))
    pq.write_table(pa.table({"m": money, "t": [datetime(2024, 1, 1), None]}), tmp_path / "d.parquet")
    assert cells(read(tmp_path, "*.csv.gz")) == [{"a": "1", "b": "2"}]
    assert cells(read(tmp_path, "b.json", records="data.list")) == [
        {"a": "1", "b.c": '["1"]', "d": None}, {"a": None, "b.c": None, "d": "0"},
    ]  # fmt: skip
    lines = read(tmp_path, "c.jsonl")
    assert lines[0].cells == {"a": "12345678901234567890.123456789"}
    assert (lines[1].line, str(lines[1].problem)[:14]) == (2, "it is not JSON")
    assert lines[2].cells == {"a": None, "text": None, "b": True} or lines[2].cells == {"a": None, "b": True}
    assert cells(read(tmp_path, "d.parquet"))[0] == {"m": Decimal("10.10"), "t": datetime(2024, 1, 1)}


def test_workbooks_sheets_dates_and_formulas_that_end_in_errors(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active["A1"] = "not this one"
    sheet = book.create_sheet("May")
    for row in (["Day", "Sum"], [datetime(2024, 5, 1), 12.5], [None, None], [datetime(2024, 5, 2, 8, 30), "#DIV/0!"]):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    (tmp_path / "~$a.xlsx").write_text("Excel's own")
    found = read(tmp_path, "*.xlsx", sheet="May")
    assert [(row.line, list(row.cells.values()), row.problem) for row in found] == [
        (2, [date(2024, 5, 1), 12.5], None),
        (4, [datetime(2024, 5, 2, 8, 30), "#DIV/0!"], "a formula of it ends in #DIV/0!"),
    ]
    with pytest.raises(DataError, match="it has no sheet 'June'; it has: Sheet, May"):
        read(tmp_path, "*.xlsx", sheet="June")


def test_a_wide_sheet_becomes_long(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("site,latte,cake\nA,3,\nB,5,1\n")
    melt = {"keep": ["site"], "name": "item", "value": "n"}
    assert [(row.line, dict(row.cells)) for row in read(tmp_path, "a.csv", melt=melt)] == [
        (2, {"site": "A", "item": "latte", "n": "3"}),
        (3, {"site": "B", "item": "latte", "n": "5"}),
        (3, {"site": "B", "item": "cake", "n": "1"}),
    ]


def test_what_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("no workbook")
    (tmp_path / "b.parquet").write_text("no parquet")
    (tmp_path / "c.json").write_text("{")
    with zipfile.ZipFile(tmp_path / "d.xlsx", "w") as packed:
        packed.writestr("x", "y")
    for name in ("a.xlsx", "b.parquet", "c.json", "d.xlsx"):
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            read(tmp_path, name)
    with pytest.raises(DataError, match="there is no folder"):
        read(tmp_path / "nowhere", "*")


def test_patterns_name_a_folder_or_any(tmp_path: Path) -> None:
    for name in ("a.csv", "2024/b.csv", "2024/05/c.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    assert [row.file for row in read(tmp_path, "*.csv")] == ["a.csv"]
    assert [row.file for row in read(tmp_path, "2024/*.csv")] == ["2024/b.csv"]
    assert {row.file for row in read(tmp_path, "**/*.csv")} == {"a.csv", "2024/b.csv", "2024/05/c.csv"}


def records(rows: Rows, stream: str, *found: Mapping[str, Any]) -> list[dict[str, Any]]:
    recorder = Recorder(rows, stream)
    made = [recorder.records(Row(one, "f.csv", line)) for line, one in enumerate(found, 2)]
    return [json.loads(record) for records in made for record in records]


def test_a_row_is_taken_by_all_its_targets_or_by_none() -> None:
    rows = Rows.model_validate({
        "files": "*",
        "into": [
            {"entity": "location", "key": ["site"], "columns": {"location_name": "site"}},
            {"entity": "ad_spend", "key": ["day"], "where": {"kind": "ad"},
             "columns": {"campaign_key": {"value": "c"}, "spend_date": "day", "currency": {"value": "USD"},
                         "spend": "sum"}},
        ],
    })  # fmt: skip
    good = {"site": "A", "day": "2024-01-01", "kind": "ad", "sum": "5.10"}
    bad = {**good, "day": "2024-01-02", "sum": "five"}
    other = {"site": "B", "day": "", "kind": "rent", "sum": ""}
    sites = records(rows, "location", good, bad, other, good)
    assert [(one["key"], one.get("refused")) for one in sites] == [
        ("A", None), ("A", "line 3: spend: 'five' is no number with a decimal point"), ("B", None),
    ]  # fmt: skip
    (spent, refused) = records(rows, "ad_spend", good, bad, other)
    assert spent["columns"] == {"campaign_key": "c", "spend_date": "2024-01-01", "currency": "USD", "spend": "5.10"}
    assert (refused["key"], refused["row"]) == ("2024-01-02", bad) and "columns" not in refused


def test_a_key_that_comes_again_with_other_values_is_told() -> None:
    rows = Rows.model_validate({"files": "*", "into": [{"table": "t", "key": ["k"]}]})
    again = records(rows, "t", {"k": "1", "v": "a"}, {"k": "1", "v": "a"}, {"k": "1", "v": "b"}, {"k": "", "v": "c"})
    assert [one.get("refused") for one in again] == [
        None, "line 4: line 2 has the same key (1) with other values", "line 5: its key is empty (k)",
    ]  # fmt: skip


def test_a_column_that_is_not_there_is_named() -> None:
    rows = Rows.model_validate({"files": "*", "into": [{"table": "t", "key": ["k"], "columns": {"v": "Sum"}}]})
    with pytest.raises(NoColumn, match="there is no column 'Sum'; there are: k, sum"):
        records(rows, "t", {"k": "1", "sum": "2"})


def test_templates_maps_and_defaults() -> None:
    rows = Rows.model_validate({
        "files": "*", "time_zone": "America/New_York",
        "into": [{"table": "t", "key": [{"template": "{day}-{no}"}], "columns": {
            "at": {"template": "{day}T{hour}", "type": "timestamp"},
            "how": {"column": "how", "map": {"K": "card"}, "default": "cash"},
        }}],
    })  # fmt: skip
    made = records(rows, "t", {"day": "2024-07-01", "no": "7", "hour": "20:00", "how": "K"},
                   {"day": "2024-01-01", "no": "8", "hour": "20:00", "how": None})  # fmt: skip
    assert [(one["key"], one["columns"]) for one in made] == [
        ("2024-07-01-7", {"at": "2024-07-02T00:00:00+00:00", "how": "card"}),
        ("2024-01-01-8", {"at": "2024-01-02T01:00:00+00:00", "how": "cash"}),
    ]


def test_a_first_mapping_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "sales-2024-05.csv").write_bytes(
        "Номер;Дата;Сума;Кількість\nA1;31.05.2024;1 200,50;2\nA2;2024-06-01;3,00;1\n".encode("cp1251")
    )
    text = guess(Folder(str(tmp_path)))
    said = yaml.safe_load(text)
    SourceMapping.model_validate(said)
    (rows,) = said["rows"]
    assert rows["delimiter"] == ";" and rows["decimal"] == ","
    assert set(rows["dates"]) == {"%d.%m.%Y", "iso"}
