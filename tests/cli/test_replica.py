"""larder shard replica, and what larder shard show tells of replicas."""

from __future__ import annotations

from collections.abc import Callable

from sharding.catalogue import Catalogue
from tests.cli.conftest import Ran


def test_replicas_are_told_listed_and_forgotten(larder: Callable[..., Ran], catalogue: Catalogue) -> None:
    assert larder("shard", "replica", "list", "shard_1", "--json").json == []
    [row] = larder("shard", "replica", "add", "shard_1", "127.0.0.1:1", "--json").json
    assert (row["replica"], row["state"], row["lag_bytes"]) == ("127.0.0.1:1", "down", None)
    here = catalogue.shard("shard_1")  # no replica: it takes writes
    larder("shard", "replica", "add", "shard_1", f"{here.host}:{here.port}")
    assert [row["state"] for row in larder("shard", "show", "shard_1", "--json").json["replicas"]] == [
        "down",
        "promoted",
    ]
    shown = larder("shard", "show", "shard_1").out
    assert "replica 127.0.0.1:1" in shown and "promoted it takes writes of its own now" in shown
    assert len(larder("shard", "replica", "remove", "shard_1", "127.0.0.1:1", "--json").json) == 1
    again = larder("shard", "replica", "remove", "shard_1", "127.0.0.1:1")
    assert again.code == 2 and "has no replica at 127.0.0.1:1" in again.err
    assert larder("shard", "replica", "add", "shard_1", "nowhere").code == 2
