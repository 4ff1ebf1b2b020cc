"""Files and a database of one's own, from what a person types to the marts. Every number is worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import psycopg2
import pytest

from tests.conftest import Server
from tests.integration.conftest import NOW, World, new_world

# Two orders of three lines that are right, a day that does not exist (line 5) and a decimal point (line 6).
SALES = """Чек;Дата;Точка;Товар;К-сть;Сума;ПДВ
101;01.04.2024 09:15;Кав'ярня на Подолі;Лате;2;108,33;21,67
101;01.04.2024 09:15;Кав'ярня на Подолі;Круасан;1;40,42;8,08
102;2024-04-02 10:30;Кав'ярня на Подолі;Еспресо;1;1 037,50;207,50
103;31.04.2024 11:00;Кав'ярня на Подолі;Лате;1;54,17;10,83
104;02.04.2024 12:00;Кав'ярня на Подолі;Лате;1;54.17;10,83
"""
BUILD = ("build", "--select", "+fct_sale", "--no-tests")
MAPPING = """
rows:
  - files: "sales-*.csv"
    decimal: ","
    dates: ["%d.%m.%Y %H:%M", iso]
    time_zone: Europe/Kyiv
    into:
      - entity: location
        key: [Точка]
        columns: {location_name: Точка, timezone: {value: Europe/Kyiv}, currency: {value: UAH}, country: {value: UA}}
      - entity: sale
        key: [Чек]
        columns: {location_key: Точка, counted_at: Дата, opened_at: Дата, closed_at: Дата, currency: {value: UAH}}
      - entity: sale_item
        key: [Чек, Товар]
        columns:
          {sale_key: Чек, item_key: Товар, item_name: Товар, quantity: К-сть, amount: Сума, tax_added: ПДВ,
           currency: {value: UAH}}
      - entity: item
        key: [Товар]
        columns: {item_name: Товар}
  - files: targets.xlsx
    skip: 1
    read: snapshot
    melt: {keep: [Site], name: day, value: target}
    into:
      - table: targets
        key: [Site, day]
        location: Site
        columns: {site: Site, day: {column: day, type: date}, target: {column: target, type: number}}
"""


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A business with nothing, and its files."""
    with new_world(server, "shard_1") as made:
        made.catalogue.add_business("kava", "Kava", "shard_1", business=7)
        yield made


def write_targets(path: Path, cells: list[list[Any]]) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [["Plan of spring"], *cells]:
        book.active.append(row)
    book.save(path)


def test_files_become_facts_and_a_table_beside_them(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "sales-1.csv").write_bytes(SALES.encode("cp1251"))
    write_targets(folder / "targets.xlsx", [["Site", "2024-04-01", "2024-04-02"], ["Кав'ярня на Подолі", 150.5, 1200]])
    mapping = tmp_path / "mapping.yml"
    mapping.write_text(MAPPING, encoding="utf-8")

    looked = world.larder("files", "preview", str(folder), "--mapping", str(mapping), "--json")
    streams = {one["stream"]: one for one in looked.json["streams"]}
    assert (streams["sale_item"]["records"], streams["sale_item"]["refused"]) == (5, 2)
    assert [(one["line"], one["reason"].split(":")[0]) for one in streams["sale_item"]["problems"]] == [
        (5, "line 5"),
        (6, "line 6"),
    ]
    assert world.larder("source", "list", "--json").json == []

    added = world.larder("source", "add", "kava", "files", "--path", str(folder), "--mapping", str(mapping))
    assert added.code == 0, added
    for step in (("extract",), ("load",), BUILD):
        assert world.larder(*step).code == 0, world.said[-1]

    # 101: 108.33 + 40.42 = 148.75, tax 21.67 + 8.08 = 29.75; 102: 1037.50, tax 207.50
    assert world.rows(
        "kava",
        "select sale_key, business_date::text, gross_sales, tax, total_collected, currency"
        " from {marts}.fct_sale order by 1",
    ) == [
        ("101", "2024-04-01", Decimal("148.7500"), Decimal("29.7500"), Decimal("178.5000"), "UAH"),
        ("102", "2024-04-02", Decimal("1037.5000"), Decimal("207.5000"), Decimal("1245.0000"), "UAH"),
    ]
    # 09:15 in Kyiv on 1 April is 06:15 UTC
    counted = "select counted_at at time zone 'UTC' from {intermediate}.int_sales__unioned where natural_key = '101'"
    assert world.one("kava", counted).isoformat() == "2024-04-01T06:15:00"

    # the wide sheet beside the sales, by the location's id
    assert world.rows(
        "kava",
        """
        select t.day::text, t.target, sum(s.gross_sales)
        from custom.kava__targets as t
        inner join {marts}.fct_sale as s on s.location_id = t.location_id and s.business_date = t.day
        group by 1, 2 order by 1
        """,
    ) == [
        ("2024-04-01", Decimal("150.5"), Decimal("148.7500")),
        ("2024-04-02", Decimal("1200"), Decimal("1037.5000")),
    ]
    file, line, business, in_ledger = world.rows(
        "kava",
        "select t.file, t.line, {keys}.business_of(t.business_id), l.records from custom.kava__targets as t"
        " inner join {raw}.loaded_blocks as l using (block_id) limit 1",
    )[0]
    assert (file, line, business, in_ledger) == ("targets.xlsx", 3, 7, 2)

    aside = world.rows(
        "kava", "select stream, reason, detail from {raw}.quarantine where stream = 'sale_item' order by ordinal"
    )
    assert [(stream, reason) for stream, reason, _ in aside] == [("sale_item", "bad_row")] * 2
    assert "line 5: opened_at: '31.04.2024 11:00' is no date" in aside[0][2]
    assert "line 6: amount: '54.17' is no number with a decimal comma" in aside[1][2]

    # nothing new; then a line mended, a second file with a line that was there before, a plan with a day less
    assert {row["outcome"] for row in world.larder("extract", "--force", "--json").json} == {"empty"}
    (folder / "sales-1.csv").write_bytes(SALES.replace("54.17", "54,17").encode("cp1251"))
    (folder / "sales-2.csv").write_text(
        SALES.splitlines()[0] + "\n103;30.04.2024 11:00;Кав'ярня на Подолі;Лате;1;54,17;10,83\n"
        "101;01.04.2024 09:15;Кав'ярня на Подолі;Лате;2;108,33;21,67\n",
        encoding="utf-8-sig",
    )
    write_targets(folder / "targets.xlsx", [["Site", "2024-04-01"], ["Кав'ярня на Подолі", 150.5]])
    for step in (("extract", "--force"), ("load",), ("build",), ("reconcile",)):
        assert world.larder(*step).code == 0, world.said[-1]
    # 148.75 + 1037.50 + 54.17 of receipt 104 + 54.17 of receipt 103, in the second file with another day
    assert world.one("kava", "select sum(gross_sales) from {marts}.fct_sale") == Decimal("1294.5900")
    states = "select state, count(*) from {raw}.quarantine where stream = 'sale_item' group by 1 order by 1"
    assert world.rows("kava", states) == [("open", 1), ("overtaken", 2)], (
        "the file was read again, one row is still bad"
    )
    assert world.rows("kava", "select day::text from custom.kava__targets") == [("2024-04-01",)]
    assert world.one("kava", "select count(*) from {raw}_data.targets") == 3  # history: two versions and an end


def test_a_database_is_connected_and_its_deletions_are_found(world: World, server: Server, tmp_path: Path) -> None:
    theirs = server.copy_of("larder_control")
    world.clock.set(NOW)
    with closing(psycopg2.connect(server.dsn(theirs))) as conn:
        conn.autocommit = True
        cur = conn.cursor()
        cur.execute(
            "create table public.members (id bigint primary key, name text, points numeric(20, 6), joined date);"
            "create table public.visits (id bigint primary key, member bigint, changed timestamptz not null);"
            "insert into public.members values (1, 'Оля', 10.125000, '2024-01-31');"
            "insert into public.members values (9007199254740993, 'Big', 0.1, null);"
            "insert into public.visits select n, 1, '2024-01-01'::timestamptz + n * interval '1 hour'"
            " from generate_series(1, 3) as n;"
            "create table public.days (day date, shop text, sold numeric(10, 2), primary key (day, shop));"
            "insert into public.days values ('2024-03-01', 'A', 1), ('2024-04-01', 'A', 2.50), ('2024-04-02', 'A', 3)"
        )
        at = server.instance
        url = f"postgresql+psycopg2://{at.username}:{server.password}@{at.host}:{at.port}/{theirs}"
        secret = world.home / "erp"
        secret.write_text(url)
        mapping = tmp_path / "erp.yml"
        mapping.write_text(
            "rows:\n"
            "  - database_table: members\n    into: [{table: members}]\n"
            "  - database_table: visits\n    cursor: changed\n    sweep: 1d\n    into: [{table: visits}]\n"
            "  - database_table: days\n    window: day\n    last: 7d\n    into: [{table: days}]\n"
        )
        added = world.larder("source", "add", "kava", "database", "--secret", "file:erp", "--mapping", str(mapping))
        assert added.code == 0, added
        assert server.password not in added.out + added.err
        for step in (("extract",), ("load",)):
            assert world.larder(*step).code == 0, world.said[-1]
        assert world.rows(
            "kava", "select id, name, points, joined::text, row_key from custom.kava__members order by id"
        ) == [
            (1, "Оля", Decimal("10.125000"), "2024-01-31", "1"),
            (9007199254740993, "Big", Decimal("0.100000"), None, "9007199254740993"),
        ]
        assert world.one("kava", "select count(*) from custom.kava__visits") == 3

        cur.execute(
            "delete from members where id = 1; update members set points = 0.2;"
            "insert into visits values (4, 1, '2024-01-01 04:00+00'); update visits set member = 2 where id = 1"
        )
        for step in (("extract", "--force"), ("load",)):
            assert world.larder(*step).code == 0, world.said[-1]
        assert world.rows("kava", "select id, points from custom.kava__members") == [
            (9007199254740993, Decimal("0.200000"))
        ]
        assert (
            world.one("kava", "select count(*) from {raw}_data.members") == 4
        )  # two versions each, one of them an end
        # by cursor: the new row; what changed without moving its cursor comes with the next sweep
        assert world.rows("kava", "select id, member from custom.kava__visits order by id") == [
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 1),
        ]
        # two days later: a sweep finds what the cursor could not, a window of a week finds what is gone from it
        cur.execute("delete from visits where id = 2; delete from days where day <> '2024-04-02'")
        world.clock.set(NOW + timedelta(days=2))
        for step in (("extract",), ("load",)):
            assert world.larder(*step).code == 0, world.said[-1]
        visits = world.rows("kava", "select id, member from custom.kava__visits order by id")
        assert visits == [(1, 2), (3, 1), (4, 1)]
        days = world.rows("kava", "select day::text, sold from custom.kava__days order by day")
        assert days == [("2024-03-01", Decimal("1.00")), ("2024-04-02", Decimal("3.00"))], "March is not in the window"

        manifests = [json.dumps(row) for (row,) in world.control("select manifest from control.blocks")]
        assert manifests and not [text for text in manifests if server.password in text]

        cur.execute("drop table members")
        failed = world.larder("extract", "--force", "--json")
        (members,) = [row for row in failed.json if row["stream"] == "members"]
        assert "has no table 'members'" in members["error"] and members["turn"] == "config"
    server.drop(theirs)
