"""`larder reproduce`: blocks of the made-up vendor that fail in load and in a model fail again, elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg2
import pytest
from pytest_httpserver import HTTPServer

from ingestion import uploads
from ingestion.blocks import BlockStore
from orchestration.cycle import run_cycle
from orchestration.dbt_worker import DbtProject
from orchestration.reproduce_masking import Masker
from orchestration.reproduce_test import replay, smallest
from sharding.model import Shard
from sharding.settings import Settings, get_settings
from tests.cli.conftest import Ran
from tests.cli.world import shop_world
from tests.conftest import Server
from tests.object_store import opened
from tests.orchestration.shop import Shop

PERSON = {
    "customer": {"given_name": "Wilhelmina", "email": "mina@example.org", "phone": "+44 20 7946 0018"},
    "note": "for Wilhelmina Harker, 12 Crescent Road",
    "card": {"last_4": "4417"},
    "state": "PAID",
}
PERSONAL = ("Wilhelmina", "mina@example.org", "7946 0018", "Harker", "Crescent", "4417")


@dataclass(frozen=True)
class Blocks:
    """The cafe's blocks: one that fails in a model, one whose record is in quarantine, and one without a fault."""

    shop: Shop
    good: str
    refused: str
    broken: str


@pytest.fixture(scope="module")
def blocks(server: Server, make_httpserver: HTTPServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocks]:
    with shop_world(server, make_httpserver, tmp_path_factory.mktemp("reproduce")) as shop:
        made = []
        for number, sales in enumerate(
            (
                [("s1", "10.00"), ("s2", "5.25")],
                [("s3", "1.00")],
                [("s2", "6.25"), ("s10", "2.50"), ("s9", "twelve")],
            )
        ):
            shop.now += timedelta(minutes=20)
            for key, total in sales:
                shop.sell("cafe", key, total)
                shop.sales["cafe"][-1] |= PERSON
            if number == 1:
                shop.sales["cafe"][-1]["note"] = "\0"
            report = run_cycle(shop.installation)
            assert not report.failures or number == 2, report.failures
            [of_cafe] = [event for event in report.loaded if event.business == "cafe"]
            made += of_cafe.blocks
        assert any("invalid input syntax" in failure.cause for _, failure in report.failures)
        yield Blocks(shop, *made)


@pytest.fixture
def settings(blocks: Blocks) -> Settings:
    """The installation of the whole module, for the command line."""
    return get_settings()


def test_a_model_fails_with_the_same_error_on_a_throwaway_shard(larder: Callable[..., Ran], blocks: Blocks) -> None:
    ran = larder("reproduce", blocks.broken, "--json")
    assert ran.code == 5, ran.err
    told = ran.json
    [finding] = told["findings"]
    assert (finding["step"], finding["what"]) == ("model", "fct_sale")
    assert 'invalid input syntax for type numeric: "twelve"' in finding["message"]
    assert set(told["seconds"]) == {"case", "shard", "block", "dbt", "models"}
    assert not Path(told["home"]).exists(), "nothing is left"


def test_ids_and_earlier_versions_come_along(larder: Callable[..., Ran], blocks: Blocks) -> None:
    ran = larder("reproduce", blocks.broken, "--load-only", "--keep")
    assert ran.code == 0 and "nothing failed" in ran.out, ran.out
    dsn = next(word for word in ran.out.split() if word.startswith("postgresql://"))
    home = Path(ran.out.split("LARDER_HOME=")[1].split()[0])
    try:
        with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select payload ->> 'total' from raw_acme.sales where natural_key = 's2' order by observed_at"
            )
            assert [total for (total,) in cursor] == ["5.25", "6.25"]
            cursor.execute("select id, state from keys.source, keys.route")
            [source] = [s for s in blocks.shop.installation.catalogue.sources() if s.business_name == "cafe"]
            assert cursor.fetchall() == [(source.id, "active")]
        secrets = [path for path in home.rglob("*") if path.is_file() and path.parent.name == "secrets"]
        theirs = ["control.password", "control.superuser.password"]
        assert sorted(path.name for path in secrets) == theirs, "of the throwaway server alone"
    finally:
        connection.close()
        from orchestration.reproduce_shard import CONTROL, instances

        instances.remove(CONTROL, Settings(home=home, control_dsn=None))
        shutil.rmtree(home)


def test_a_refused_record_is_refused_again(larder: Callable[..., Ran], blocks: Blocks) -> None:
    ran = larder("reproduce", blocks.refused, "--load-only", "--json")
    assert ran.code == 5, ran.err
    [finding] = ran.json["findings"]
    assert finding["step"] == "quarantine" and finding["message"].startswith("not_jsonb")
    [there] = ran.json["there"]
    assert there == {"step": "quarantine", "what": finding["what"], "message": finding["message"]}


@pytest.mark.fault(30)
def test_a_case_goes_to_another_machine_as_a_file(larder: Callable[..., Ran], blocks: Blocks, tmp_path: Path) -> None:
    file = tmp_path / "case.tar"
    saved = larder("reproduce", blocks.refused, "--save", str(file))
    assert saved.code == 0 and str(file) in saved.out
    assert b"cafe.token" not in file.read_bytes() and b"file:" not in file.read_bytes(), "no credential, nor its place"
    again = larder("reproduce", str(file), "--load-only", "--json")
    assert larder("blocks", "export", blocks.refused, "--to", str(tmp_path / "block.tar")).code == 0
    alone = larder("reproduce", str(tmp_path / "block.tar"), "--load-only", "--json")
    assert alone.json["findings"] == again.json["findings"]
    assert [finding["step"] for finding in again.json["findings"]] == ["quarantine"]


def test_the_copies_in_an_object_store_alone_are_enough(
    larder: Callable[..., Ran], blocks: Blocks, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = blocks.shop.installation
    with opened(tmp_path, monkeypatch) as bucket:
        assert uploads.upload(at.catalogue.dsn, BlockStore(settings.block_store, bucket.url)).failed == 0
        bucket.requests()
        ran = larder("reproduce", blocks.broken, "--store", bucket.url, "--model", "fct_sale", "--json")
        assert ran.code == 5, ran.err
        assert bucket.requests()
    assert [(finding["step"], finding["what"]) for finding in ran.json["findings"]] == [("model", "fct_sale")]
    assert larder("reproduce", blocks.good, "--load-only").code == 0


def test_wrong_questions_are_answered(larder: Callable[..., Ran], blocks: Blocks, tmp_path: Path) -> None:
    assert "neither a block's id nor a file" in larder("reproduce", "b1").err
    unknown = "00000000-0000-7000-8000-000000000000"
    assert "there is no block" in larder("reproduce", unknown).err
    (tmp_path / "file").write_text("no archive")
    assert "file" in larder("reproduce", str(tmp_path / "file")).err
    assert "no model or test 'fct_sail'" in larder("reproduce", blocks.good, "--model", "fct_sail").err
    assert "nothing failed" in larder("reproduce", blocks.good, "--load-only", "--as-test").err


def test_the_failing_record_becomes_a_test_without_anybodys_data(
    larder: Callable[..., Ran], blocks: Blocks, shard: Shard, tmp_path: Path
) -> None:
    project = Path(blocks.shop.installation.transform.project_dir)
    ran = larder("reproduce", blocks.broken, "--model", "fct_sale", "--as-test")
    assert ran.code == 5, ran.err
    [test] = (project / "tests" / "regressions").glob("test_*.py")
    [page] = (project / "tests" / "regressions" / "pages").glob("*.json")
    text = page.read_text()
    for block in json.loads(text)["blocks"]:
        for record in block["records"]:
            assert not [value for value in PERSONAL if value in record], record
    last = json.loads(text)["blocks"][-1]
    assert [json.loads(record)["id"] for record in last["records"]] == ["s9"], "of three records the one at fault"
    assert json.loads(last["records"][0])["state"] == "PAID"
    compile(test.read_text(), test.name, "exec")
    dbt = DbtProject(project, tmp_path / "dbt")
    [failed] = replay(page, shard, tmp_path / "case", dbt, ["fct_sale"])
    assert failed.startswith("model fct_sale:") and "invalid input syntax for type numeric" in failed


def test_masking_keeps_keys_amounts_and_faults() -> None:
    masker = Masker(b"salt", {"O-1", "anna@example.org"})
    text = (
        '{"id": "O-1", "total": "12.50", "amount": 1250, "at": "2024-04-02T10:00:00Z", "bad": 1e200000,'
        ' "name": "\\ud800 Anna", "server": "anna@example.org", "postal_code": "94110",'
        ' "tel": 4155550100, "type": "CARD"'
    )
    found = masker.record(text)
    for kept in ('"O-1"', '"12.50"', "1250,", "2024-04-02T10:00:00Z", "1e200000", "\\ud800 ", '"CARD"'):
        assert kept in found, kept
    assert not masker.left_in(found)
    assert masker.left_in(text) == {"\\ud800 Anna", "anna@example.org", "94110", "4155550100"}
    assert masker.record(text) == found
    assert masker.key("anna@example.org") in found, "a key that is an address is masked everywhere alike"


def test_the_smallest_part_that_fails() -> None:
    assert smallest(list(range(100)), lambda some: 37 in some) == [37]
    assert smallest([1, 2, 3, 4], lambda some: {1, 4} <= set(some)) == [1, 2, 3, 4]
