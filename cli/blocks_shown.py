"""What `larder blocks show` says of a block."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.context import Context
from cli.output import Output
from sharding.model import INSPECTOR

if TYPE_CHECKING:
    from ingestion.blocks import Manifest

_ALL_RECORDS = 10_000  # looked through for a key
_GONE = 20


def document(
    context: Context, manifest: Manifest, records: int, lines: frozenset[int], keys: frozenset[str], facts: bool
) -> dict[str, Any]:
    """The manifest, the loads, and what became of some records."""
    from ingestion.fates import fates, gone, ledger
    from ingestion.load import connect, stream_of
    from ingestion.registry import discover
    from orchestration.trace import trace

    stream = stream_of(manifest, discover())
    picked = list(_picked(context, manifest, records, lines))
    shown: dict[str, Any] = {"manifest": manifest.model_dump(mode="json", exclude={"file_crc32"})}
    shard = context.router.shard_of(manifest.business)
    with closing(connect(shard.as_role(INSPECTOR).dsn)) as conn:
        shown["loads"] = [vars(one) for one in ledger(conn, shard.schemas, manifest.block_id)]
        if keys:
            all_of_them = enumerate(context.store.read(manifest))
            while batch := list(islice(all_of_them, _ALL_RECORDS)):
                found = {
                    f.ordinal for f in fates(conn, shard.schemas, manifest, stream, batch) if f.natural_key in keys
                }
                picked += [one for one in batch if one[0] in found]
        told = fates(conn, shard.schemas, manifest, stream, picked)
        shown["gone"] = gone(conn, shard.schemas, manifest, _GONE)
    went: dict[str, Any] = {}
    if facts:
        in_raw = sorted({one.natural_key for one in told if one.version_id is not None and one.natural_key})
        went = trace(shard, context.settings.home / "dbt", int(manifest.source_id), in_raw)
    raw = dict(picked)
    shown["records"] = [
        {
            **vars(one),
            "version_id": None if one.version_id is None else str(one.version_id),
            "went_to": went.get(one.natural_key or "", {}),
            "record": raw[one.ordinal].decode("utf-8", "backslashreplace"),
        }
        for one in told
    ]
    return shown


def _picked(context: Context, manifest: Manifest, records: int, lines: frozenset[int]) -> list[tuple[int, bytes]]:
    """The first records, or those of some lines. The whole block is read, which checks its hash."""
    picked = []
    for ordinal, record in enumerate(context.store.read(manifest)):
        if ordinal in lines or (not lines and ordinal < records):
            picked.append((ordinal, record))
    return picked


def print_block(out: Output, shown: dict[str, Any]) -> None:
    """The same, for people."""
    manifest = shown["manifest"]
    out.table([{"field": name, "value": value} for name, value in manifest.items()], f"block {manifest['block_id']}")
    out.say("its file has the hash of its manifest")
    out.table(shown["loads"], "loads", "pending: not loaded yet")
    if shown["gone"]:
        more = ", …" if len(shown["gone"]) == _GONE else ""
        out.say(f"gone, as this window has them no more: {', '.join(shown['gone'])}{more}")
    for one in shown["records"]:
        out.say(f"\nline {one['ordinal']}: {one['natural_key'] or '(no key)'} → {one['outcome']}, {one['detail']}")
        if one["version_id"]:
            out.say(f"  raw version {one['version_id']}" + (" (in force)" if one["is_current"] else ""))
        for table, rows in one["went_to"].items():
            out.say(f"  {table}: " + "; ".join(", ".join(f"{c} {v}" for c, v in row.items()) for row in rows))
        record = one["record"]
        out.say(f"  {record if len(record) <= 400 else record[:400] + ' …'}")
