"""Takes a business's blocks out of the block store, every version of them, and its rows out of landing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection

from ingestion.blocks import BlockStore
from ingestion.errors import LarderError
from ingestion.landing import Slot, sweep


@dataclass(frozen=True)
class Held:
    """Files of a business in one store. `versions`: older ones that the store keeps beside them."""

    store: str
    files: int
    bytes: int
    versions: int = 0


def held(store: BlockStore, business: int) -> list[Held]:
    """What the store, and the one that copies go to, hold of a business."""
    found = []
    for one in _stores(store):
        paths = [one.path(name) for name in one.files(_folder(business))]
        sizes = [int(one.fs.size(path) or 0) for path in paths]
        versions = len(list(_versions(one, business)))
        found.append(Held(one.url, len(paths), sum(sizes), max(0, versions - len(paths))))
    return found


def erase_blocks(store: BlockStore, business: int) -> None:
    """Delete every file of a business, with its older versions where the store keeps them.

    Raises:
        LarderError: turn `us`: something is still there.
    """
    for one in _stores(store):
        for bucket, key, version in _versions(one, business):
            one.fs.call_s3("delete_object", Bucket=bucket, Key=key, VersionId=version)
        top = one.path(_folder(business))
        if one.fs.exists(top):
            one.fs.rm(top, recursive=True)
        left = [*one.files(_folder(business)), *(key for _, key, _ in _versions(one, business))]
        if left:
            raise LarderError(
                f"{len(left)} files stay in {one.url}, such as {left[0]}", turn="us", next_command="larder doctor"
            )


def sweep_landing(conn: Connection, raw_schema: str) -> int:
    """Empty the landing tables that no load uses: a killed one leaves its records there. Returns how many were emptied.

    A load that runs empties its own when it ends.
    """
    pattern = raw_schema.replace("_", r"\_") + r"\_landing\_%"
    with conn, conn.cursor() as cursor:
        cursor.execute("select nspname from pg_namespace where nspname like %s order by 1", (pattern,))
        schemas = [schema for (schema,) in cursor.fetchall()]
    swept = 0
    for schema in schemas:
        slot = Slot(schema, 0, f"larder landing {schema}")
        with conn, conn.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (slot.lock,))
            taken = cursor.fetchone() == (True,)
        if taken:
            sweep(conn, slot)
            with conn, conn.cursor() as cursor:
                cursor.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (slot.lock,))
            swept += 1
    return swept


def _stores(store: BlockStore) -> list[BlockStore]:
    return [store, store.remote] if store.remote is not None else [store]


def _folder(business: int) -> str:
    return f"{business}/"


def _versions(store: BlockStore, business: int) -> Iterator[tuple[str, str, str]]:
    """(bucket, key, version) of every version and delete marker below the business's folder; none in a store that is no
    S3. A bucket that keeps no versions calls its only one `null`, which is deleted like any other."""
    call = getattr(store.fs, "call_s3", None)
    if call is None:
        return
    bucket, _, prefix = store.path(_folder(business)).partition("/")
    more: dict[str, Any] = {}
    while True:
        page = call("list_object_versions", Bucket=bucket, Prefix=prefix, **more)
        for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            yield bucket, entry["Key"], entry["VersionId"]
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
