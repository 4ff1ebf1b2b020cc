"""Marts as Parquet: equal to the cent, each business's own, only what changed, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration import mart_files
from orchestration.mart_files import MANIFEST, Exported, export_marts
from orchestration.mart_types import Column, exported, partition_column
from sharding.access.tenants import grant_access, revoke_access
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.ids import make_id
from sharding.model import Shard
from tests.object_store import opened

CAFE, BAR = 1001, 300_001  # above 2^18 ids are negative

MARTS = """
create table {marts}.sum_sales_day (
    location_id bigint, business_date date, currency char(3), net_sales numeric(19, 4), share numeric, orders integer,
    seen_at timestamptz, labels text[], note jsonb, open boolean,
    primary key (location_id, business_date)
);
create table {marts}.dim_location (location_id bigint primary key, name text, opens interval);
create view {bi}.sum_sales_day with (security_invoker = true) as
    select *, location_id::text as location_id_text from {marts}.sum_sales_day;
create view {bi}.dim_location with (security_invoker = true) as select * from {marts}.dim_location;
create view {bi}.everybody as select * from {marts}.dim_location;
select {keys}.open_to_bi(array['{bi}.sum_sales_day', '{bi}.dim_location', '{marts}.sum_sales_day',
    '{marts}.dim_location']::regclass[]);
"""


@dataclass(frozen=True)
class World:
    """A shard with marts of two businesses, and a folder for their files."""

    catalogue: Catalogue
    shard: Shard
    folder: Path

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.shard.dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute(self.shard.render(statement), values or None)
            return cur.fetchall() if cur.description else []

    def export(self, business: str = "cafe", **options: Any) -> Exported:
        return export_marts(self.catalogue, business, str(self.folder), **options)

    def manifest(self, business: str = "cafe") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / business / MANIFEST).read_text())
        return found

    def files(self, business: str = "cafe") -> dict[str, int]:
        """Files beside the manifest, with when each was written."""
        found = (self.folder / business).rglob("*.*")
        return {str(f.relative_to(self.folder)): f.stat().st_mtime_ns for f in found if f.name != MANIFEST}

    def table(self, mart: str, business: str = "cafe") -> Any:
        """A mart as a reader has it: the files that the manifest names."""
        [one] = [one for one in self.manifest(business)["marts"] if one["name"] == mart]
        return pa.concat_tables(pq.ParquetFile(self.folder / part["file"]).read() for part in one["parts"])


@pytest.fixture
def world(catalogue: Catalogue, shard: Shard, tmp_path: Path) -> Iterator[World]:
    """Forty days of two businesses, over two months and the turn of a year."""
    made = World(catalogue, shard, tmp_path / "files")
    made.sql(MARTS)
    for name, number in (("cafe", CAFE), ("bar", BAR)):
        catalogue.add_business(name, name.title(), "shard_1", business=number)
        location = make_id(number, 7)
        made.sql("insert into {marts}.dim_location values (%s, %s, '08:30')", location, name)
        for day in range(40):
            made.sql(
                "insert into {marts}.sum_sales_day values (%s, %s, 'USD', %s, %s::numeric / 3, %s, %s, %s, %s, true)",
                *(location, date(2024, 12, 1) + timedelta(day), f"{day}.{day:02d}01", day, day,
                  datetime(2024, 12, 1, 23, 59, 59, 123456, timezone(timedelta(hours=-5))), ["a", name], '{"a": 1}'),
            )  # fmt: skip
        grant_access(catalogue, name)
    yield made
    for name in ("cafe", "bar"):
        revoke_access(catalogue, name)


def test_what_is_read_back_is_what_postgres_has(world: World) -> None:
    done = world.export()
    assert (done.marts, done.parts, done.changed, done.rows) == (2, 3, 3, 41)
    table = world.table("sum_sales_day")
    [(money, shares)] = world.sql(
        "select sum(net_sales), sum(share) from {marts}.sum_sales_day where location_id = %s", make_id(CAFE, 7)
    )
    assert sum(table["net_sales"].to_pylist()) == money
    assert sum(table["share"].to_pylist()) == shares  # its type says no digits: as many as the rows have
    assert table.schema.field("net_sales").type == pa.decimal128(19, 4)
    assert table.schema.field("location_id").type == pa.int64()
    assert set(table["location_id"].to_pylist()) == {make_id(CAFE, 7)}
    assert table["seen_at"].to_pylist()[0] == datetime(2024, 12, 2, 4, 59, 59, 123456, UTC)
    assert table.schema.field("seen_at").type == pa.timestamp("us", tz="UTC")
    assert table["labels"].to_pylist()[0] == ["a", "cafe"] and json.loads(table["note"].to_pylist()[0]) == {"a": 1}
    assert "location_id_text" not in table.column_names
    assert world.table("dim_location").to_pylist() == [
        {"location_id": make_id(CAFE, 7), "name": "cafe", "opens": "08:30:00"}
    ]
    months = [part["partition"] for part in world.manifest()["marts"][1]["parts"]]
    assert months == ["2024-12", "2025-01"]


def test_files_go_to_an_object_store(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, monkeypatch) as bucket:

        def read(file: str) -> bytes:
            content: bytes = bucket.client.get_object(Bucket=bucket.name, Key=f"larder/{file}")["Body"].read()
            return content

        assert export_marts(world.catalogue, "cafe", bucket.url).changed == 3
        before = set(bucket.keys())
        assert export_marts(world.catalogue, "cafe", bucket.url).changed == 0 and set(bucket.keys()) == before
        manifest = json.loads(read("cafe/manifest.json"))
        parts = [part for mart in manifest["marts"] for part in mart["parts"]]
        assert len(parts) == 3
        for part in parts:
            content = read(part["file"])
            assert (len(content), hashlib.sha256(content).hexdigest()) == (part["bytes"], part["sha256"])
            assert pq.ParquetFile(io.BytesIO(content)).metadata.num_rows == part["rows"]
        world.sql("delete from {marts}.sum_sales_day where business_date < '2024-12-02'")
        assert export_marts(world.catalogue, "cafe", bucket.url).changed == 1
        assert len(bucket.keys()) == 4, "the file of before is gone"


def test_each_business_gets_its_own_rows(world: World) -> None:
    world.export("bar")
    assert set(world.table("sum_sales_day", "bar")["location_id"].to_pylist()) == {make_id(BAR, 7)}
    assert make_id(BAR, 7) < 0
    assert {mart["name"] for mart in world.manifest("bar")["marts"]} == {
        "dim_location",
        "sum_sales_day",
    }  # not `everybody`


def test_only_months_that_changed_are_written(world: World) -> None:
    world.export()
    before = world.files()
    again = world.export()
    assert (again.changed, again.removed, again.bytes) == (0, 0, 0)
    assert world.files() == before
    world.sql("update {marts}.sum_sales_day set net_sales = net_sales + 0.0001 where business_date = '2024-12-05'")
    once = world.export()
    assert once.changed == 1
    kept = set(before) & set(world.files())
    assert len(kept) == 2 and all(world.files()[name] == before[name] for name in kept)
    assert sum(world.table("sum_sales_day")["net_sales"].to_pylist()) == Decimal("787.8041")


def test_rows_that_are_deleted_go(world: World) -> None:
    world.export()
    world.sql("delete from {marts}.sum_sales_day where business_date = '2024-12-05'")
    assert world.export().changed == 1
    assert world.table("sum_sales_day").num_rows == 39
    world.sql("delete from {marts}.sum_sales_day where business_date >= '2025-01-01'")
    done = world.export()
    assert (done.changed, done.removed, done.rows) == (0, 1, 31)
    assert len(world.files()) == 2


def test_a_change_of_columns_writes_all_of_a_mart(world: World) -> None:
    world.export()
    world.sql("create or replace view {bi}.dim_location with (security_invoker = true) as"
              " select *, 1 as more from {marts}.dim_location")  # fmt: skip
    assert world.export().changed == 1
    assert world.table("dim_location").column_names == ["location_id", "name", "opens", "more"]
    world.sql("update {marts}.sum_sales_day set share = 0.125 where business_date = '2025-01-01'")
    world.sql("update {marts}.sum_sales_day set share = 0 where business_date <> '2025-01-01'")
    assert world.export().changed == 2  # fewer digits: another type, in both months
    assert world.table("sum_sales_day").schema.field("share").type == pa.decimal128(38, 3)


def test_killed_half_way_the_last_export_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.export()
    manifest, rows = world.manifest(), world.table("sum_sales_day").to_pylist()
    world.sql("update {marts}.sum_sales_day set net_sales = 1")
    real, written = mart_files._write, []

    def killed(*given: Any) -> Any:
        if written:
            raise KeyboardInterrupt
        written.append(real(*given))
        return written[0]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mart_files, "_write", killed)
        world.export()
    assert world.manifest() == manifest and world.table("sum_sales_day").to_pylist() == rows
    assert len(world.files()) == 4  # one that nobody names
    assert world.export().changed == 2
    assert len(world.files()) == 3 and sum(world.table("sum_sales_day")["net_sales"].to_pylist()) == 40


def test_all_of_it_is_of_one_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = mart_files._write

    def meanwhile(*given: Any) -> Any:
        world.sql("update {marts}.sum_sales_day set net_sales = net_sales + 1")
        world.sql("update {marts}.dim_location set name = name || '!'")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(mart_files, "_write", meanwhile)
        world.export()
    assert sum(world.table("sum_sales_day")["net_sales"].to_pylist()) == Decimal("787.8040")
    assert world.table("dim_location")["name"].to_pylist() == ["cafe"]


def test_a_business_that_cannot_be_seen_keeps_its_files(world: World) -> None:
    world.export()
    before = world.files()
    world.sql("update {keys}.route set state = 'out' where business = %s", CAFE)
    with pytest.raises(LarderError, match="shows no row of cafe"):
        world.export()
    assert world.files() == before


def test_without_a_role_nothing_is_read(world: World) -> None:
    revoke_access(world.catalogue, "cafe")
    with pytest.raises(LarderError, match="no role") as refused:
        world.export()
    assert refused.value.next_command == "larder access grant cafe"


def test_two_at_once_are_one(world: World) -> None:
    with mart_files._alone(world.catalogue, world.catalogue.business("cafe")):
        with pytest.raises(LarderError, match="another export"):
            world.export()
        world.export("bar")


def test_ids_as_text_are_left_out_and_texts_are_not() -> None:
    columns = [Column("a_id", "bigint"), Column("a_id_text", "text"), Column("review_text", "text")]
    assert [column.name for column in exported(columns)] == ["a_id", "review_text"]
    dates = [Column("month_start", "date"), Column("business_date", "date")]
    assert partition_column("sum_sales_day", dates) == "business_date"
    assert partition_column("dim_date", dates) is None
    assert partition_column("fct_hired", [Column("hired_on", "date")]) is None
