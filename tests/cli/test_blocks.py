"""`larder blocks`: found by what they are, looked into, compared, loaded again, checked, and taken elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from ingestion.blocks import BlockStore, Manifest
from sharding.catalogue import Catalogue
from sharding.settings import Settings, get_settings
from tests.cli.conftest import Ran
from tests.cli.test_load import ODD, ORDER, block

Larder = Callable[..., Ran]


@pytest.fixture
def blocks(larder: Larder, settings: Settings, catalogue: Catalogue) -> list[Manifest]:
    """Of the café: one loaded block with a record in quarantine, one damaged, one pending. Of the diner: one loaded."""
    for name in ("cafe", "diner"):
        catalogue.add_business(name, name.title(), "shard_1")
        catalogue.add_source(name, "square", "till", {})
    first = block(settings, catalogue, "cafe/till", ORDER, ODD)
    other = block(settings, catalogue, "diner/till", ORDER)
    damaged = block(settings, catalogue, "cafe/till", {**ORDER, "id": "D"})
    Path(BlockStore(settings.block_store).path(damaged.data_path)).write_bytes(b"\0")
    assert larder("load").code == 5
    dearer = {**ORDER, "updated_at": "2025-03-10T11:30:00Z", "total_money": {"amount": 725, "currency": "USD"}}
    return [first, other, damaged, block(settings, catalogue, "cafe/till", dearer, {**ORDER, "id": "E"})]


def listed(larder: Larder, *options: str) -> list[str]:
    return [row["block"] for row in larder("blocks", "list", "--json", *options).json]


def ids(*manifests: Manifest) -> list[str]:
    return [str(manifest.block_id) for manifest in manifests]


def test_blocks_are_found_by_what_they_are(larder: Larder, blocks: list[Manifest]) -> None:
    first, other, damaged, late = blocks
    assert listed(larder) == ids(late, damaged, other, first), "newest first"
    assert listed(larder, "--business", "diner") == listed(larder, "--source", "diner/till") == ids(other)
    assert listed(larder, "--stream", "payments") == []
    assert listed(larder, "--state", "loaded") == ids(other, first)
    assert listed(larder, "--state", "pending") == ids(late)
    assert listed(larder, "--pending") == ids(late, damaged)
    assert listed(larder, "--state", "failed") == listed(larder, "--error", "IS DAMAGED") == ids(damaged)
    assert listed(larder, "--error", "no such") == []
    assert listed(larder, "--from", "2025-03-10", "--to", "2025-03-10") == ids(late, damaged, other, first)
    assert listed(larder, "--to", "2025-03-09") == listed(larder, "--from", "2025-03-11") == []
    [aside] = larder("blocks", "list", "--state", "quarantined", "--json").json
    assert (aside["block"], aside["in quarantine"]) == (str(first.block_id), 1)
    [failed] = larder("blocks", "list", "--state", "failed", "--json").json
    assert failed["failed"] == 1 and "damaged" in failed["error"]
    assert larder("blocks", "list", "--state", "odd").code == larder("blocks", "list", "--from", "Monday").code == 2


def test_a_long_list_has_pages(larder: Larder, blocks: list[Manifest]) -> None:
    ran = larder("blocks", "list", "--limit", "3")
    assert f"next: --before {blocks[1].block_id}" in ran.out
    assert listed(larder, "--limit", "3", "--before", str(blocks[1].block_id)) == ids(blocks[0])


def test_a_block_says_where_its_records_went(larder: Larder, blocks: list[Manifest]) -> None:
    shown = larder("blocks", "show", str(blocks[0].block_id), "--no-facts", "--json").json
    assert shown["manifest"]["records"] == 2 and [one["versions"] for one in shown["loads"]] == [1]
    good, odd = shown["records"]
    assert (good["outcome"], good["is_current"], good["natural_key"]) == ("version", True, "A")
    assert json.loads(good["record"]) == ORDER and isinstance(good["version_id"], str)
    assert odd["outcome"] == "quarantined" and "no ISO 4217 currency" in odd["detail"]
    people = larder("blocks", "show", str(blocks[0].block_id), "--no-facts", "--line", "1").out
    assert "line 1: B → quarantined, unknown_currency: " in people and "line 0" not in people
    pending = larder("blocks", "show", str(blocks[3].block_id), "--no-facts", "--key", "E", "--records", "0", "--json")
    assert [(one["ordinal"], one["outcome"]) for one in pending.json["records"]] == [(1, "not loaded")]
    assert larder("blocks", "show", str(blocks[2].block_id)).code == 5, "its hash is checked"
    assert larder("blocks", "show", "x").code == larder("blocks", "show", str(UUID(int=1))).code == 2


def test_two_blocks_side_by_side(larder: Larder, blocks: list[Manifest]) -> None:
    ran = larder("blocks", "diff", str(blocks[0].block_id), str(blocks[3].block_id), "--json")
    assert ran.code == 5
    assert {name: ran.json[name] for name in ("added", "removed", "changed", "same")} == {
        "added": 1, "removed": 1, "changed": 1, "same": 0,
    }  # fmt: skip
    [changed] = [row for row in ran.json["records"] if row["change"] == "changed"]
    assert {"field": "total_money.amount", "was": "700", "became": "725", "difference": "25"} in changed["fields"]
    same = larder("blocks", "diff", str(blocks[0].block_id), str(blocks[0].block_id))
    assert (same.code, "2 same" in same.out) == (0, True)


def test_replay(larder: Larder, blocks: list[Manifest]) -> None:
    ran = larder("blocks", "replay", str(blocks[0].block_id), "--no-build")
    assert ran.code == 0 and "nothing changed: raw has it all" in ran.out
    rows = larder("blocks", "replay", "--source", "cafe/till", "--state", "pending", "--no-build", "--json").json
    assert [(row["versions"], row["changed"]) for row in rows["loaded"]] == [(2, 2)]
    assert (
        larder("blocks", "replay").code
        == larder("blocks", "replay", "--source", "cafe/till", "--stream", "x").code
        == 2
    )
    assert larder("blocks", "replay", "--business", "cafe", "--no-build").code == 5, "one is damaged; the others went"
    generations = [one["generation"] for one in shown_loads(larder, blocks[0])]
    assert generations == [3, 2, 1]


def shown_loads(larder: Larder, manifest: Manifest) -> list[dict[str, int]]:
    found: list[dict[str, int]] = larder("blocks", "show", str(manifest.block_id), "--no-facts", "--json").json["loads"]
    return found


def test_verify(larder: Larder, settings: Settings, blocks: list[Manifest]) -> None:
    first, other, damaged, _ = blocks
    assert larder("blocks", "verify", str(first.block_id)).code == 0
    assert larder("blocks", "verify").code == 2
    path = Path(BlockStore(settings.block_store).path(first.data_path))
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)
    Path(BlockStore(settings.block_store).path(other.data_path)).unlink()
    ran = larder("blocks", "verify", "--all", "--json")
    assert ran.code == 5 and ran.json["checked"] == 4
    problems = {one["block"]: (one["problem"], one["offset"]) for one in ran.json["faults"]}
    assert problems == {
        str(first.block_id): ("file damaged", 20),
        str(other.block_id): ("file missing", None),
        str(damaged.block_id): ("file damaged", 1),
    }
    assert (
        f"byte 20 is 0x{content[20]:02x} and was 0x{content[20] ^ 0xFF:02x}" in larder("blocks", "verify", "--all").out
    )


def test_to_another_machine(
    larder: Larder, settings: Settings, blocks: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "blocks.tar"
    seal = larder("blocks", "export", *ids(blocks[0], blocks[3]), "--to", str(file), "--json").json["seal"]
    assert larder("blocks", "export", str(blocks[2].block_id), "--to", str(tmp_path / "no")).code == 5
    monkeypatch.setenv("LARDER_BLOCK_STORE", f"file://{tmp_path}/elsewhere")
    get_settings.cache_clear()
    from cli.context import get_context

    get_context.cache_clear()
    assert larder("blocks", "import", str(file), "--seal", "0" * 64).code == 5
    told = larder("blocks", "import", str(file), "--seal", seal, "--json").json
    assert (told["blocks"], told["new"], told["pending"]) == (2, 2, 0), "the index of this test has them already"
    assert larder("blocks", "verify", *ids(blocks[0], blocks[3])).code == 0


def test_copies(larder: Larder, blocks: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert larder("blocks", "upload").code == 2, "there is nowhere to copy to"
    monkeypatch.setenv("LARDER_BLOCK_REMOTE", f"file://{tmp_path}/copies")
    get_settings.cache_clear()
    from cli.context import get_context

    get_context.cache_clear()
    assert larder("blocks", "upload", "--status", "--json").json["waiting"] == 4
    ran = larder("blocks", "upload", "--json")
    assert ran.code == 1 and (ran.json["uploaded"], ran.json["failed"]) == (3, 1), "the damaged one is no copy"
    rows = larder("blocks", "list", "--json").json
    assert [bool(row["copied_at"]) for row in rows] == [True, False, True, True]
    assert listed(larder, "--error", "has other bytes") == ids(blocks[2])
    told = larder("blocks", "upload", "--release", "0", "--json").json
    assert told["released"] == 2, "the loaded ones"
    assert larder("blocks", "show", str(blocks[0].block_id), "--no-facts").code == 0, "read from its copy"
    assert larder("blocks", "verify", "--all", "--remote", "--json").json["faults"] == []
