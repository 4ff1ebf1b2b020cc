"""Commands of a business's life: placed, exported, erased; and migrations of the shards it lives on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from sharding.catalogue import Catalogue
from sharding.model import Shard
from tests.cli.conftest import Ran


def test_a_business_is_placed_exported_and_erased(
    larder: Callable[..., Ran],
    make_shard: Callable[..., Shard],
    register: Callable[[Shard], Catalogue],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("shard_1", "shard_2"):
        catalogue = register(make_shard(name))
    catalogue.add_business("cafe", "Café", "shard_1")
    catalogue.add_business("bar", "Bar", "shard_1")
    assert larder("business", "place", "cafe", "--shard", "shard_2", "--json").json["shard"] == "shard_2"
    exported = larder("business", "export", "cafe", "--to", str(tmp_path / "out"), "--json").json
    assert exported["to"] == str(tmp_path / "out") and (tmp_path / "out" / "manifest.json").exists()

    plan = larder("business", "erase", "cafe", "--dry-run", "--json").json
    assert plan["shard shard_2"]["keys.route"] == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("coffee\n"))
    refused = larder("business", "erase", "cafe")
    assert refused.code == 2 and "another name was typed" in refused.err
    assert [b.name for b in catalogue.businesses()] == ["cafe", "bar"]
    monkeypatch.setattr("sys.stdin", io.StringIO("cafe\n"))
    erased = larder("business", "erase", "cafe")
    assert erased.code == 0 and "confirmation: " in erased.out
    assert [b.name for b in catalogue.businesses()] == ["bar"]
    assert larder("business", "erase", "cafe", "--yes").code == 0  # again: the confirmation once more
    both = larder("business", "isolate", "bar", "--schema", "--database")
    assert both.code == 2


def test_shards_are_planned_and_migrated(larder: Callable[..., Ran], catalogue: Catalogue, shard: Shard) -> None:
    [row] = larder("shard", "migrate", "--plan", "--json").json
    assert (row["shard"], row["missing"], row["error"]) == ("shard_1", "", "") and row["at"] > "0005"
    [row] = larder("shard", "migrate", "--json").json
    assert row["state"] == "up to date"
    assert larder("shard", "migrate", "--only", "nowhere").code == 2
