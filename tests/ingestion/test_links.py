"""Records that name others are linked with them, in both directions, by every version there ever was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sharding.model import Shard
from tests.ingestion.conftest import make_spec
from tests.ingestion.raw_model import ITEMS, ORDERS, SPECS, Depot, depot

MakeShard = Callable[..., Shard]
LINKED = {"acme": make_spec(ORDERS | {"links": ["order_id", "refunds.order_id"]}, ITEMS)}


def links(raw: Depot) -> list[tuple[Any, ...]]:
    return raw.run("select key, linked_key from {raw}.link order by 1, 2")


def test_each_version_leaves_its_links(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    raw.load(
        raw.block("orders", [b'{"id":"p","order_id":"A"}', b'{"id":"q","order_id":""}', b'{"id":"r"}']), specs=LINKED
    )
    assert links(raw) == [("A", "p"), ("p", "A")]
    moved = raw.block("orders", [b'{"id":"p","order_id":"B","refunds":[{"order_id":"C"},{"order_id":7}]}'], at=60)
    raw.load(moved, specs=LINKED)
    both = [("7", "p"), ("A", "p"), ("B", "p"), ("C", "p"), ("p", "7"), ("p", "A"), ("p", "B"), ("p", "C")]
    assert links(raw) == both
    raw.load(moved, specs=LINKED)
    assert links(raw) == both


def test_what_was_loaded_before_a_link_was_declared_is_linked(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    raw.load(raw.block("orders", [b'{"id":"p","order_id":"A"}']), specs=SPECS)
    assert links(raw) == []
    raw.load(raw.block("orders", [b'{"id":"q","order_id":"B"}'], at=60), specs=LINKED)
    assert links(raw) == [("A", "p"), ("B", "q"), ("p", "A"), ("q", "B")]


def test_a_link_that_leads_nowhere_links_nothing(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    specs = {"acme": make_spec(ORDERS | {"links": ["order_id"], "no_link": "0"}, ITEMS)}
    raw.load(raw.block("orders", [b'{"id":"p","order_id":"0"}', b'{"id":"q","order_id":"A"}']), specs=specs)
    assert links(raw) == [("A", "q"), ("q", "A")]
