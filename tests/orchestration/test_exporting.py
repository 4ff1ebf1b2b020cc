"""A business as files: every hash is right, nobody else's rows are in it, and COPY reads it back row by row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from ingestion.blocks import BlockStore
from orchestration.cycle import run_cycle
from orchestration.exporting import export_business
from sharding.errors import LarderError
from sharding.ids import business_of
from sharding.model import Shard
from sharding.moving.layout import moved_tables
from tests.orchestration.shop import Shop


def all_rows(shard: Shard, business: int) -> dict[str, list[str]]:
    """Table → the business's rows as text, sorted; without transaction ids."""
    found = {}
    with closing(psycopg2.connect(shard.dsn)) as conn, conn.cursor() as cur:
        cur.execute("set timezone = 'UTC'")
        for table in moved_tables(conn, shard):
            cur.execute(
                sql.SQL("select row({})::text from {} where {} order by 1").format(
                    table.column_list, table.at(shard), table.rows_of(business)
                )
            )
            if lines := [line for (line,) in cur.fetchall()]:
                found[table.name] = lines
    return found


def test_files_have_their_hashes_and_are_read_back(
    shop: Shop, tmp_path: Path, make_shard: Callable[..., Shard]
) -> None:
    shop.sell("cafe", 'a, "quoted"\nline', "3.10")
    shop.sell("diner", "not-mine", "7.25")
    assert not run_cycle(shop.installation).failures
    cafe = shop.installation.catalogue.business("cafe")
    told = export_business(shop.installation, "cafe", str(tmp_path / "out"))

    manifest: dict[str, Any] = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(told, default=str))
    files = [*manifest["tables"], *manifest["blocks"]]
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {file["file"] for file in files} | {"manifest.json"}
    for file in files:
        content = (tmp_path / "out" / file["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
        assert b"not-mine" not in (gzip.decompress(content) if file["file"].endswith(".gz") else content)
    names = {table["name"] for table in manifest["tables"]}
    assert {"keys.source", "raw.head", "raw.loaded_blocks", "raw_acme.sales", "marts.fct_sale"} <= names
    [block] = BlockStore(f"file://{tmp_path}/out/blocks").manifests()
    assert block.business == cafe.id and list(BlockStore(f"file://{tmp_path}/out/blocks").read(block))
    text = gzip.decompress((tmp_path / "out" / "tables" / "marts.fct_sale.csv.gz").read_bytes()).decode()
    [sale] = csv.DictReader(io.StringIO(text, newline=""))
    assert (sale["natural_key"], sale["total"]) == ('a, "quoted"\nline', "3.1000")
    assert business_of(int(sale["location_id"])) == cafe.id

    other = make_shard("shard_3", "north")
    with closing(psycopg2.connect(other.dsn)) as conn, conn, conn.cursor() as cur:
        cur.execute("set local session_replication_role = replica")
        for stream in manifest["shard"]["streams"]:
            cur.execute(other.render("select {raw}.ensure_stream(%s, %s, %s)"), tuple(stream.values()))
        for table in manifest["tables"]:
            if not table["name"].startswith("marts."):
                at = f"north_{table['name']} ({', '.join(table['columns'])})"
                with gzip.open(tmp_path / "out" / table["file"]) as packed:
                    cur.copy_expert(f"copy {at} from stdin (format csv, header)", packed)
    assert all_rows(other, cafe.id) == all_rows(shop.shards[0], cafe.id)


def test_an_export_is_not_written_over(shop: Shop, tmp_path: Path) -> None:
    export_business(shop.installation, "cafe", str(tmp_path))
    with pytest.raises(LarderError, match="holds an export already"):
        export_business(shop.installation, "diner", str(tmp_path))
