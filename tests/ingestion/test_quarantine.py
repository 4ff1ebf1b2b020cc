"""What raw refuses goes to quarantine and its neighbours load; retried after a fix it is as if nothing had been."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from ingestion import load as load_module
from ingestion import quarantine
from ingestion.blocks import Manifest, Window
from ingestion.errors import ConfigError
from ingestion.fates import fates
from ingestion.load import connect
from ingestion.outcome import LoadResult
from ingestion.spec import IntegrationSpec
from sharding.model import Shard
from tests.ingestion.conftest import make_spec
from tests.ingestion.raw_model import ITEMS, ORDERS, SPECS, SPEND, Depot, Line, Sample, depot, expected

MakeShard = Callable[..., Shard]
# The vendor's key is called `key` in some records: a fixed spec reads it.
OTHER_KEY = {"acme": make_spec(ORDERS | {"natural_key": "value"}, ITEMS | {"natural_key": "value"}, SPEND)}


def retry(raw: Depot, ids: Sequence[int], specs: dict[str, IntegrationSpec] | None = None) -> LoadResult:
    def find(block_id: UUID) -> Manifest | None:
        return next((manifest for manifest in raw.made if manifest.block_id == block_id), None)

    return quarantine.retry(raw.shard.dsn, raw.shard.schemas, ids, find, raw.store, specs or SPECS)


def ids(raw: Depot) -> list[int]:
    return [row["quarantine_id"] for row in quarantine.listed(raw.shard.dsn, raw.shard.schemas)]


@pytest.mark.fault(26)
def test_what_jsonb_refuses_stays_out_and_its_neighbours_load(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    refused = [rb'{"id":"z","n":"\u0000"}', rb'{"id":"y","n":"\ud800"}', b'{"id":"x","n":1e200000}', b'{"n":1}', b"{\0"]
    good = [Line(f"k{n}", "1", n).encode(0) for n in range(10)]
    result = raw.load(raw.block("orders", [*good[:5], *refused, *good[5:]]))
    assert (result.failures, result.total("versions"), result.total("quarantined")) == ([], 10, 5)
    rows = raw.run("select natural_key, reason, payload_text from {raw}.quarantine order by ordinal")
    assert [row[:2] for row in rows] == [
        ("z", "not_jsonb"), ("y", "not_jsonb"), ("x", "not_jsonb"), (None, "no_key"), (None, "not_json"),
    ]  # fmt: skip
    assert [row[2] for row in rows] == [*(line.decode() for line in refused[:4]), "{\\x00"]
    raw.books_balance()


def test_retried_after_a_fix_it_is_a_clean_load(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    lines = [b'{"value":"a","n":1}', b'{"value":"b","n":1}', b'{"value":"a","n":2}', b'{"nothing":1}']
    block = raw.block("items", lines)
    before = raw.block("items", [b'{"id":"old","value":"old"}'], at=-60)
    raw.load(block)
    raw.load(before, specs=OTHER_KEY)
    assert raw.run("select natural_key from {raw}_acme.items_current") == [("old",)], (
        "a keyless record proves no absence"
    )

    assert retry(raw, ids(raw)).total("quarantined") == 4, "nothing was fixed"
    result = retry(raw, ids(raw), OTHER_KEY)
    assert [result.total(what) for what in ("records", "versions", "superseded", "quarantined")] == [4, 2, 1, 1]
    raw.books_balance()
    assert raw.run("select count(*) from {raw}.complete_window where block_id = %s", block.block_id) == [(0,)]
    assert raw.run(
        "select records, versions, superseded, quarantined from {raw}.loaded_blocks where observed_at = %s",
        block.observed_at,
    ) == [(4, 2, 1, 1)]

    clean = depot(make_shard, tmp_path / "clean")
    clean.load(
        clean.block("items", lines), clean.block("items", [b'{"id":"old","value":"old"}'], at=-60), specs=OTHER_KEY
    )
    assert raw.current("items") == clean.current("items")


def test_a_window_counts_once_its_last_keyless_record_is_read(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    samples = [
        Sample("items", 0, (Line("gone", "1"), Line("a", "1")), Window(complete=True)),
        Sample("items", 1, (Line("a", "1"),), Window(complete=True)),
    ]
    first, second = (
        raw.block(sample.stream, (line.encode(0) for line in sample.lines), sample.at) for sample in samples
    )
    raw.load(first)
    raw.load(second, specs={"acme": make_spec(ITEMS | {"natural_key": "missing"})})
    assert len(raw.current("items")) == 2
    assert retry(raw, ids(raw)).total("tombstones") == 1
    current = {
        key: (str(version.payload["value"]), version.observed_at) for (_, key), version in raw.current("items").items()
    }
    assert current == expected(list(zip(samples, (first, second), strict=True)), "items")
    raw.books_balance()


def test_discarded_with_a_reason(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    raw.load(raw.block("orders", [b'{"n":1}', b'{"n":2}', b'{"id":"a"}']))
    one, two = ids(raw)
    at = (raw.shard.dsn, raw.shard.schemas, raw.business)
    with pytest.raises(ConfigError, match="reason"):
        quarantine.discard(*at, [one], " ")
    assert quarantine.discard(*at, [one], "a test sale") == 1
    assert quarantine.discard(*at, [one], "again") == 0
    assert retry(raw, [one], OTHER_KEY).blocks == [], "what was given up is not tried again"
    assert raw.run("select quarantined, discarded from {raw}.loaded_blocks") == [(1, 1)]
    assert quarantine.shown(raw.shard.dsn, raw.shard.schemas, one)["decided_reason"] == "a test sale"
    assert ids(raw) == [two]
    raw.books_balance()


def test_a_package_that_fails_is_bisected_to_its_block(
    make_shard: MakeShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something the checks do not know of: here, they are blind to `\\u0000` in blocks of one stream."""
    raw = depot(make_shard, tmp_path)
    blocks = [raw.block("orders", [Line(f"k{n}", "1", n).encode(0)], n) for n in range(6)]
    bad = raw.block("items", [rb'{"id":"a"}', rb'{"id":"b","n":"\u0000"}'], 9)
    checker = load_module.checker

    def blind(stream: object) -> object:
        check = checker(stream)  # type: ignore[arg-type]
        return lambda record, at: check(record.replace(rb"\u0000", b""), at)

    monkeypatch.setattr(load_module, "checker", blind)
    result = raw.load(*blocks[:3], bad, *blocks[3:])
    assert [failure.block_ids for failure in result.failures] == [(bad.block_id,)]
    assert "cannot be loaded" in result.failures[0].error.cause
    assert "\\u0000" in result.failures[0].error.cause
    assert sorted(block.block_id for block in result.blocks) == sorted(block.block_id for block in blocks)
    raw.books_balance()


@pytest.mark.fault(24)
def test_a_damaged_block_is_reported_and_the_others_load(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    good, bad = (raw.block("orders", [Line(f"k{n}", "1", n).encode(0)], n) for n in range(2))
    Path(raw.store.path(bad.data_path)).write_bytes(Path(raw.store.path(good.data_path)).read_bytes())
    gone = raw.block("orders", [Line("k3", "1", 3).encode(0)], 3)
    Path(raw.store.path(gone.data_path)).unlink()
    result = raw.load(bad, good, gone)
    assert {failure.block_ids[0]: failure.error.turn for failure in result.failures} == {
        bad.block_id: "data", gone.block_id: "data",
    }  # fmt: skip
    assert raw.run("select natural_key from {raw}_acme.orders_current") == [("k0",)]
    raw.books_balance()


def test_a_paused_business_holds_up_nobody_else(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    raw.add_business(8)
    blocks = [raw.block("orders", [Line("k", "1", 1).encode(0)], business=business) for business in (7, 8)]
    raw.run("update {keys}.route set state = 'paused' where business = 7")
    result = raw.load(*blocks)
    assert [(failure.business, failure.error.turn) for failure in result.failures] == [(7, "you")]
    assert "business 7 takes no writes on this shard (paused)" in result.failures[0].error.cause
    assert [block.block_id for block in result.blocks] == [blocks[1].block_id]
    raw.run("update {keys}.route set state = 'active'")
    again = raw.load(*blocks)
    assert [block.block_id for block in again.blocks] == [blocks[0].block_id]
    assert again.already == [blocks[1].block_id]


def test_a_block_of_nobodys_stream_is_a_setting_to_mend(make_shard: MakeShard, tmp_path: Path) -> None:
    raw = depot(make_shard, tmp_path)
    good, odd = raw.block("orders", [Line("k", "1", 1).encode(0)]), raw.block("unheard_of", [b"{}"])
    result = raw.load(odd, good)
    assert [(failure.block_ids, failure.error.turn) for failure in result.failures] == [((odd.block_id,), "config")]
    assert len(result.blocks) == 1


def test_what_the_vendor_sends_anew_is_done_with(make_shard: MakeShard, tmp_path: Path) -> None:
    """Its day is no longer marked, nobody has to give it up, and it is told what became of it."""
    raw = depot(make_shard, tmp_path)
    refused = raw.block("orders", [b'{"id":"a","currency":"XXL"}', b'{"n":1}'], 0)
    raw.load(refused)
    assert len(ids(raw)) == 2
    raw.load(raw.block("orders", [b'{"id":"a","currency":"EUR"}'], 1))
    assert [row["reason"] for row in quarantine.listed(raw.shard.dsn, raw.shard.schemas)] == ["no_key"]
    assert raw.run("select superseded, quarantined from {raw}.loaded_blocks order by observed_at") == [(1, 1), (0, 0)]
    group = (raw.source_id, "orders", "unknown_currency")
    [_, over] = quarantine.standing(raw.shard.dsn, raw.shard.schemas, [group])
    assert (over.group, over.ended) == (group, "healed")
    with closing(connect(raw.shard.dsn)) as conn:
        records = list(enumerate(raw.store.read(refused)))
        told = fates(conn, raw.shard.schemas, refused, SPECS["acme"].streams[0], records)
    assert [fate.outcome for fate in told] == ["superseded", "quarantined"]
    assert "a later state of the record is known" in told[0].detail
    raw.books_balance()
