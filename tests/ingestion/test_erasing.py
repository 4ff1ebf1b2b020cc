"""A business's blocks leave every store with all their versions; a killed load's records leave landing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ingestion.blocks import BlockStore
from ingestion.erasing import erase_blocks, held, sweep_landing
from ingestion.errors import LarderError
from ingestion.landing import slot
from sharding.model import Shard
from tests.waiting import until


class Bucket:
    """What an S3 client answers of a bucket with versions: two of each file, a delete marker, pages of two entries."""

    def __init__(self) -> None:
        self.versions = [(f"blocks/7/{file}", version) for file in ("a", "b") for version in ("v1", "v2")]
        self.versions += [("blocks/7/a", "marker"), ("blocks/8/c", "v1")]
        self.stuck = False

    def call_s3(self, method: str, **given: Any) -> dict[str, Any]:
        if method == "delete_object":
            if not self.stuck:
                self.versions.remove((given["Key"], given["VersionId"]))
            return {}
        assert (method, given["Bucket"]) == ("list_object_versions", "bucket")
        mine = sorted(entry for entry in self.versions if entry[0].startswith(given["Prefix"]))
        rest = [e for e in mine if e > (given.get("KeyMarker", ""), given.get("VersionIdMarker", ""))]
        page = [{"Key": key, "VersionId": version} for key, version in rest[:2]]
        return {
            "Versions": [entry for entry in page if entry["VersionId"] != "marker"],
            "DeleteMarkers": [entry for entry in page if entry["VersionId"] == "marker"],
            "IsTruncated": len(rest) > 2,
            "NextKeyMarker": page[-1]["Key"] if page else "",
            "NextVersionIdMarker": page[-1]["VersionId"] if page else "",
        }

    def exists(self, path: str) -> bool:
        return False

    def ls(self, path: str, detail: bool) -> list[Any]:
        return []


def test_files_leave_the_store_and_its_remote(tmp_path: Path) -> None:
    store = BlockStore(f"file://{tmp_path}/here", f"file://{tmp_path}/there")
    assert store.remote is not None
    for one in (store, store.remote):
        for business in (7, 70):
            one.write_bytes(f"{business}/1/orders/block", b"xyz")
    assert [(found.files, found.bytes, found.versions) for found in held(store, 7)] == [(1, 3, 0), (1, 3, 0)]
    erase_blocks(store, 7)
    erase_blocks(store, 7)
    assert [found.files for found in held(store, 7)] == [0, 0]
    assert [found.files for found in held(store, 70)] == [1, 1]


def test_every_version_leaves_a_bucket_that_keeps_them(tmp_path: Path) -> None:
    store, bucket = BlockStore(f"file://{tmp_path}"), Bucket()
    store.fs, store._root = bucket, "bucket/blocks"
    assert [found.versions for found in held(store, 7)] == [5]
    bucket.stuck = True
    with pytest.raises(LarderError, match="5 files stay"):
        erase_blocks(store, 7)
    bucket.stuck = False
    erase_blocks(store, 7)
    assert bucket.versions == [("blocks/8/c", "v1")]


def test_what_a_killed_load_left_is_swept_and_a_running_one_is_let_be(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as killed, closing(psycopg2.connect(shard.dsn)) as conn:
        with slot(killed, "raw") as taken:
            with killed, killed.cursor() as cursor:
                cursor.execute(f"insert into {taken.table} (attempt, block_no, ordinal) values (1, 1, 1)")
            assert sweep_landing(conn, "raw") == 0
            pid = killed.info.backend_pid
            killed.close()
        with conn, conn.cursor() as cursor:

            def is_gone() -> bool:
                cursor.execute("select pg_stat_clear_snapshot(), count(*) from pg_stat_activity where pid = %s", (pid,))
                return cursor.fetchone() == ("", 0)

            until(is_gone)  # the server notices a moment later, and frees the slot then
        assert sweep_landing(conn, "raw") == 1
        with conn.cursor() as cursor:
            cursor.execute(f"select count(*) from {taken.table}")
            assert cursor.fetchone() == (0,)
