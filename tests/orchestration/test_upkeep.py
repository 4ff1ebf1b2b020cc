"""Upkeep of an installation: blocks that nothing needs, leftovers of killed loads, runs in each shard's quiet hour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
import yaml

from ingestion import index, retention
from ingestion.blocks import BlockStore
from ingestion.integrity import check_block, check_index
from ingestion.manifest import Manifest
from ingestion.reindex import rebuild_index
from ingestion.uploads import upload
from orchestration.backups import CONTROL, back_up, backup_of, backups, fetch, remove, thin_out, vault_of
from orchestration.cycle import Scope, run_cycle
from orchestration.health import upkeep
from orchestration.installation import Larder
from orchestration.reimport import Reimport
from orchestration.restoring_control import restore_control
from orchestration.upkeep import (
    give_up,
    keep_to_policies,
    last_runs,
    maintain,
    maintain_control,
    quiet_times,
    remember,
    set_retention,
    spare_blocks,
)  # fmt: skip
from orchestration.upkeep_jobs import ASSETS, keep_shard, quiet_hours, restores_today, upkeep_job
from reconcile.reader import StreamRules, fold, stored
from sharding.backup.keep import Policy
from sharding.errors import LarderError
from sharding.moving.capture import start_capture, stop_capture
from sharding.moving.copying import connect
from sharding.settings import Settings, get_settings
from sharding.upkeep.quiet import Quiet
from tests.orchestration.shop import INTEGRATION, Shop

DAY = date(2025, 3, 10)
NOW = datetime(2025, 3, 10, 4, 30, tzinfo=UTC)


LOADED = Scope(steps=("extract", "load"))  # upkeep minds raw and blocks; models cost seconds


def blocks(shop: Shop) -> list[Manifest]:
    with closing(index.connect(shop.installation.catalogue.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("select manifest from control.blocks order by block_id")
        return [Manifest.model_validate(manifest) for (manifest,) in cursor.fetchall()]


def read_again(shop: Shop) -> Manifest:
    """One day of the cafe's till, read from the vendor and loaded once more."""
    at = shop.installation
    shop.now += timedelta(minutes=1)
    work = Reimport(at.catalogue, at.store, shop.clock, at.catalogue.source("cafe/till"), at.catalogue.home)
    with work.run(work.days(DAY, DAY), None, 5.0) as running:
        [adopted] = running.adopt()
    assert not run_cycle(at, Scope(steps=("load",))).failures
    return adopted


@pytest.fixture
def traded(shop: Shop) -> tuple[Shop, list[Manifest]]:
    """The cafe's day was read four times: by extracts before and after an edit, and twice by request."""
    at = shop.installation
    shop.sell("cafe", "a", "3.10")
    shop.sell("cafe", "b", "4.00")
    assert not run_cycle(at, LOADED).failures
    first, second = read_again(shop), read_again(shop)
    shop.now += timedelta(minutes=30)
    shop.sell("cafe", "a", "3.60")
    assert not run_cycle(at, LOADED).failures
    with at.catalogue.connect() as conn, conn.cursor() as cursor:  # all of it was long ago
        cursor.execute("update control.blocks set indexed_at = indexed_at - interval '400 days'")
    return shop, [first, second]


def folded(shop: Shop) -> Any:
    """What the auditor makes of the cafe's blocks: key → total."""
    url = shop.installation.store.url
    business = shop.installation.catalogue.business("cafe").id
    rules = StreamRules.of(yaml.safe_load(INTEGRATION)["streams"][0])
    return {key: seen.payload["total"] for key, seen in fold(url, stored(url, business).blocks, rules).current.items()}


def test_only_what_nothing_needs_is_given_up_also_by_a_run_that_is_killed(
    traded: tuple[Shop, list[Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, (first, second) = traded
    at, before = shop.installation, folded(shop)
    everything = blocks(shop)
    assert spare_blocks(at, "cafe", 500) == []
    spare = spare_blocks(at, "cafe", 365)
    # the second reading confirms what the first one did; what extracts brought is in raw
    assert [(one.manifest.block_id, one.reason) for one in spare] == [(first.block_id, retention.AGAIN)]

    def killed(*arguments: object) -> Iterator[int]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_remove_files", killed)
        with pytest.raises(KeyboardInterrupt):
            give_up(at, "cafe", spare)
    assert at.store.fs.exists(at.store.path(first.path))
    assert rebuild_index(at.catalogue.dsn, at.store) == 0  # its tombstone is there: it does not come back
    assert folded(shop) == before
    assert give_up(at, "cafe", []) == first.compressed_bytes  # the next run ends what was begun

    assert {one.block_id for one in blocks(shop)} == {one.block_id for one in everything} - {first.block_id}
    assert folded(shop) == before == {"a": "3.60", "b": "4.00"}
    business = at.catalogue.business("cafe").id
    assert stored(at.store.url, business).given_up == {str(first.block_id): first.records}
    assert not at.store.fs.exists(at.store.path(first.data_path))
    with closing(index.connect(at.catalogue.dsn)) as conn:
        assert list(check_index(conn, at.store)) == []  # nothing is called lost
        assert [check_block(at.store, one) for one in blocks(shop)] == [None] * (len(everything) - 1)
        assert rebuild_index(at.catalogue.dsn, at.store) == 0
        told = retention.retired(conn, first.block_id)
    assert told is not None and told[1] == retention.AGAIN
    assert [one.manifest.block_id for one in spare_blocks(at, "cafe", 365)] == []
    assert second.block_id in {one.block_id for one in blocks(shop)}


def test_a_block_that_somebody_needs_stays(traded: tuple[Shop, list[Manifest]]) -> None:
    shop, (first, _) = traded
    at = shop.installation
    control = {
        "failed": "insert into control.block_failures (block_id, turn, cause, next_command) values (%s, 'us', '', '')",
        "a cursor stands on it": "update control.cursors set block_id = %s where source_id ="
        " (select source_id from control.blocks limit 1)",
        "pending": "update control.blocks set loaded_at = null where block_id = %s",
    }
    for why, statement in control.items():
        with closing(psycopg2.connect(at.catalogue.dsn)) as conn, conn.cursor() as cursor:
            cursor.execute(statement, (str(first.block_id),))
            conn.commit()
        assert spare_blocks(at, "cafe", 365) == [], why
        with closing(psycopg2.connect(at.catalogue.dsn)) as conn, conn.cursor() as cursor:
            cursor.execute("delete from control.block_failures")
            cursor.execute("update control.cursors set block_id = null")
            cursor.execute("update control.blocks set loaded_at = now()")
            conn.commit()
    assert len(spare_blocks(at, "cafe", 365)) == 1
    shop.rows(
        0,
        "insert into {raw}.quarantine (quarantine_id, block_id, generation, ordinal, source_id, stream, observed_at,"
        " reason, detail) select {keys}.reserve(1, 1), block_id, 1, 0, source_id, stream, observed_at, 'no_key', ''"
        f" from {{raw}}.loaded_blocks where block_id = '{first.block_id}'",
    )
    assert spare_blocks(at, "cafe", 365) == []


def test_copies_go_too_and_policies_are_kept_to(traded: tuple[Shop, list[Manifest]], tmp_path: Path) -> None:
    shop, (first, _) = traded
    at = shop.installation
    store = BlockStore(at.store.url, f"file://{tmp_path}/copies")
    assert upload(at.catalogue.dsn, store).failed == 0
    at = replace(at, store=store)
    assert keep_to_policies(at, "shard_1")["blocks given up"] == 0  # off by default
    set_retention(at.catalogue, "cafe", 365, "ann")
    assert keep_to_policies(at, "shard_2")["blocks given up"] == 0
    assert keep_to_policies(at, "shard_1")["blocks given up"] == 1
    assert store.remote is not None
    assert not store.remote.fs.exists(store.remote.path(first.data_path))
    [left] = [name for name in store.remote.files() if str(first.block_id) in name]
    assert left.endswith(".retired.json")

    local = [one for one in blocks(shop) if store.fs.exists(store.path(one.data_path))]
    assert local and maintain_control(at, release_days=365)["local files of copied blocks"] == len(local)
    assert not any(store.fs.exists(store.path(one.data_path)) for one in local)
    assert [list(store.read(one)) for one in local]  # from the copies


def test_a_killed_load_s_rows_are_swept_and_orphans_are_told(shop: Shop) -> None:
    at = shop.installation
    shop.sell("cafe", "a", "3.10")
    assert not run_cycle(at, LOADED).failures
    shop.rows(0, "insert into raw_landing_1.landing (attempt, block_no, ordinal) values (1, 0, 0)")
    done = maintain(at, shop.shards[0], 60)
    assert done.swept == 1 and done.orphans == {}
    assert shop.rows(0, "select count(*) from raw_landing_1.landing") == [(0,)]
    assert last_runs(at.catalogue)["shard_1", "upkeep"][1]

    shop.rows(0, "update raw_acme.sales set block_id = gen_random_uuid()")
    with pytest.raises(LarderError, match=r"1 rows of raw_acme\.sales on shard_1 are of no load"):
        maintain(at, shop.shards[0], 60)
    assert shop.rows(0, "select count(*) from raw_acme.sales") == [(1,)]  # told, not deleted
    assert last_runs(at.catalogue)["shard_1", "upkeep"][1] is False


def test_triggers_that_a_move_had_to_leave_go_in_a_quiet_hour(shop: Shop) -> None:
    at, shard = shop.installation, shop.shards[0]
    [cafe] = [business.id for business in at.catalogue.businesses() if business.name == "cafe"]
    query = "select tgenabled::text from pg_trigger where tgname like 'move%'"
    with closing(connect(shard)) as conn, closing(psycopg2.connect(shard.dsn)) as build, build.cursor() as reads:
        start_capture(conn, shard, cafe)
        reads.execute(shard.render("select count(*) from {raw}.head"))
        stop_capture(conn, shard, cafe)
    assert shop.rows(0, query) == [("D",)] * 4
    maintain(at, shard, 30)
    assert shop.rows(0, query) == []


def test_what_builds_changed_is_kept_for_as_long_as_numbers_are_compared(shop: Shop) -> None:
    at = shop.installation
    assert maintain(at, shop.shards[0], 30).forgotten == 0, "nothing was built there yet"
    shop.sell("cafe", "a", "3.10")
    assert not run_cycle(at).failures
    age = "update {meta}.model_change set run_at = run_at - interval '%s days' where model = '%s'"
    shop.rows(0, age % (401, "fct_sale"))
    shop.rows(0, age % (399, "sum_sales_day"))
    assert maintain(at, shop.shards[0], 30).forgotten == 1
    left = {model for (model,) in shop.rows(0, "select model from {meta}.model_change")}
    assert "sum_sales_day" in left and "fct_sale" not in left


def test_the_control_database_s_log_is_thinned_out(shop: Shop) -> None:
    at = shop.installation
    run_cycle(at, LOADED)
    with at.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute("update control.extraction_log set finished_at = finished_at - interval '31 days'")
        cursor.execute("select count(*) from control.extraction_log where outcome = 'empty'")
        [(empty,)] = cursor.fetchall()
    assert empty and maintain_control(at)["empty windows in the log"] == empty


# -- backups ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def safe(shop: Shop, settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backups": f"file://{tmp_path}/vault"})


def test_damage_of_a_backup_is_found_before_anything_is_restored(shop: Shop, safe: Settings, tmp_path: Path) -> None:
    made = back_up(safe, shop.installation.catalogue, "shard_1")
    vault = vault_of(safe)
    victim = tmp_path / "vault" / made.name / max(made.files, key=lambda file: file.bytes).file
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(LarderError, match="is damaged"):
        fetch(vault, made, tmp_path / "fetched")
    victim.unlink()
    with pytest.raises(LarderError, match="lacks"):
        fetch(vault, made, tmp_path / "fetched")


def test_backups_are_thinned_out_and_what_was_cut_off_goes(shop: Shop, safe: Settings, tmp_path: Path) -> None:
    catalogue, vault = shop.installation.catalogue, vault_of(safe)
    made = [back_up(safe, catalogue, "shard_1") for _ in range(3)]
    (tmp_path / "vault" / "shard_1" / "20200101T000000000000Z" / "dump").mkdir(parents=True)
    half = tmp_path / "vault" / "shard_1" / "20200101T000000000000Z" / "dump" / "toc.dat"
    half.write_bytes(b"half of it")
    assert [one.name for one in backups(vault, "shard_1")] == [one.name for one in reversed(made)]
    policy = Policy(days=1, weeks=0, months=0)
    assert {one.name for one in thin_out(vault, "shard_1", policy, dry_run=True)} == {one.name for one in made[:2]}
    assert len(backups(vault, "shard_1")) == 3
    thin_out(vault, "shard_1", policy)
    assert [one.name for one in backups(vault, "shard_1")] == [made[2].name]
    last = back_up(safe, catalogue, "shard_1")
    assert not half.exists()
    remove(vault, last.name)
    assert backup_of(vault, "shard_1").name == made[2].name


def test_a_lost_control_database_is_told_by_shards_and_manifests(
    shop: Shop, safe: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = shop.installation
    shop.sell("cafe", "a", "3.10")
    assert not run_cycle(at, LOADED).failures
    made = back_up(safe, at.catalogue, CONTROL)
    # what comes after the backup: a sale, a source, a business, a move's end
    shop.now += timedelta(hours=1)
    shop.sell("cafe", "b", "4.00")
    assert not run_cycle(at, LOADED).failures
    at.catalogue.add_business("bar", "Bar", "shard_2")
    at.catalogue.add_source("bar", "acme", "till", {"base_url": "https://acme.example"})
    known = {one.block_id for one in blocks(shop)}
    versions = "select natural_key, version_id from raw_acme.sales order by 1"
    before = shop.rows(0, versions)

    told = restore_control(safe, made)

    said = [one.what for one in told]
    assert "bar came since, to shard_2" in said and "bar/till came since; it is paused" in said
    assert at.catalogue.business("bar").shard == "shard_2"
    assert at.catalogue.source("bar/till").state == "paused"
    assert {one.block_id for one in blocks(shop)} == known
    shop.now += timedelta(hours=1)
    report = run_cycle(at, LOADED)
    assert not report.failures
    assert [event.versions for event in report.loaded] == []  # the ledger has them: nothing is loaded twice
    assert shop.rows(0, versions) == before and len(before) == 2


# -- Dagster ----------------------------------------------------------------------------------------------------------


def test_each_shard_is_kept_in_its_own_quiet_time(shop: Shop, tmp_path: Path) -> None:
    catalogue, resources = shop.installation.catalogue, {"larder": Larder(shop.installation)}
    assert not run_cycle(shop.installation, LOADED).failures
    remember(catalogue, "shard_1", Quiet(4 * 60 + 30, "its fewest orders are then"))
    remember(catalogue, "shard_2", Quiet(13 * 60, "its fewest orders are then"))
    assert quiet_times(catalogue)["shard_2"].minute == 13 * 60
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def asked(at: datetime) -> Any:
            context = dg.build_schedule_context(instance=instance, resources=resources, scheduled_execution_time=at)
            return quiet_hours(context)

        [request] = asked(NOW)
        assert (request.partition_key, request.run_key) == ("shard_1", "shard_1 2025-03-10")
        [other] = asked(NOW.replace(hour=13, minute=0))
        assert other.partition_key == "shard_2"
        assert isinstance(asked(NOW.replace(hour=20)), dg.SkipReason)

        job = dg.Definitions(assets=[keep_shard], jobs=[upkeep_job()], resources=resources).resolve_job_def("upkeep")
        done = job.execute_in_process(instance=instance, partition_key="shard_1", asset_selection=list(ASSETS[:2]))
        assert done.success
        figures = {
            event.materialization.asset_key.path[-1]: event.materialization.metadata
            for event in done.get_asset_materialization_events()
        }
        assert figures.keys() == {"kept", "backup"}
        assert figures["backup"]["rows"].value == backup_of(vault_of(get_settings()), "shard_1").rows


def test_a_backup_is_restored_once_a_week_and_again_after_a_failure() -> None:
    days = [NOW + timedelta(days=n) for n in range(14)]
    tested = [restores_today("shard_1", (day - timedelta(days=1), True, {}), day) for day in days]
    assert sum(tested) == 2
    assert restores_today("shard_1", None, NOW) and restores_today("shard_1", (NOW, False, {}), NOW)


def test_doctor_knows_what_was_not_done(shop: Shop, safe: Settings) -> None:
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cursor:
        cursor.execute("update control.shards set created_at = now() - interval '2 days' where shard = 'shard_1'")
    states = {finding.check: finding for finding in upkeep(safe)}
    assert states["backup of shard_2"].state == "warn"  # it was made today
    assert (
        states["backup of shard_1"].state == "fail" and states["backup of shard_1"].next == "larder backup make shard_1"
    )
    assert states["upkeep of control"].state == "warn"
    back_up(safe, shop.installation.catalogue, "shard_1")
    maintain(shop.installation, shop.shards[0], 60)
    states = {finding.check: finding for finding in upkeep(safe)}
    assert {states[f"{what} of shard_1"].state for what in ("backup", "upkeep")} == {"ok"}
    assert states["restore test of shard_1"].state == "warn"
    assert all(finding.next and finding.turn for finding in states.values() if finding.state != "ok")
