"""What vendors, records and settings get wrong, as a person meets it: what is said, what is set aside, what goes on.

A shop has a till, whose vendor misbehaves over real HTTP, and an ad account, whose load must finish whatever happens.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingestion.sandbox import process
from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.http import FAULTS, Fault
from sharding.credentials import write_secret
from tests.cli.conftest import Ran
from tests.conftest import Server, scratch
from tests.faults.record import Figure
from tests.integration.conftest import NOW, World, definition, new_world

SINCE = "2024-04-01"
TILL, ADS = "jaffle_shop/till", "jaffle_shop/ads"
Open = Callable[..., World]


@pytest.fixture(scope="module")
def vendors() -> Iterator[Path]:
    """A home with nothing but the sandbox's vendors, which the shops of all tests share."""
    home = Path(tempfile.mkdtemp(prefix="larder-vendors-", dir=scratch()))
    SandboxClock(home).set(NOW)
    try:
        process.up(home)
        yield home
    finally:
        process.down(home)
        shutil.rmtree(home)


@pytest.fixture
def open_shop(server: Server, vendors: Path) -> Iterator[Open]:
    """`open_shop(till={…})`: an installation with the till and the ad account; settings of the till may be changed."""
    with ExitStack() as stack:

        def make(**till: Any) -> World:
            world = stack.enter_context(new_world(server, "shard_1"))
            (world.home / "sandbox").symlink_to(vendors / "sandbox")
            running = process.running(vendors)
            assert running is not None
            (shop,) = (business for business in definition(SINCE)["businesses"] if business["name"] == "jaffle_shop")
            world.catalogue.add_business(shop["name"], shop["display_name"], "shard_1", business=shop["number"])
            for source in shop["sources"]:
                if source["name"] in ("till", "ads"):
                    write_secret(world.home / source["name"], json.dumps(source["secret"]))
                    config = {**source["config"], "base_url": running.urls[source["integration"]]}
                    config |= till if source["name"] == "till" else {}
                    at = (shop["name"], source["integration"], source["name"])
                    world.catalogue.add_source(*at, config, f"file:{source['name']}")
            return world

        yield make
        faults = World(vendors, {}, ()).faults
        faults.set("square", None)


def ads_are_loaded(world: World) -> None:
    """The other source's load finished."""
    assert world.one("jaffle_shop", "select count(*) from {raw}_meta_ads.insights_current") > 20
    waiting = world.larder("blocks", "list", "--pending", "--json").json
    assert [block["source"] for block in waiting] == []


def problem(ran: Ran) -> tuple[int, str, str, str]:
    """Exit code, cause, turn and next command, as a person is told them last."""
    cause, turn, next_command = ran.err.splitlines()[-3:]
    return ran.code, turn.removeprefix("  turn: "), next_command.removeprefix("  next: "), cause


def nothing_of(world: World, source: str) -> None:
    """Neither a block nor a cursor came of a failed stream: the next extract begins where this one did."""
    assert [block for block in world.larder("blocks", "list", "--json").json if block["source"] == source] == []
    number = world.catalogue.source(source).id
    assert world.control("select 1 from control.cursors where source_id = %s and cursor is not null", number) == []


SAID: dict[Fault, tuple[int, str, str, str]] = {
    "down": (4, "vendor", f"larder extract --source {TILL}", "Square at http://127.0.0.1:"),
    "unauthorized": (
        3,
        "credentials",
        f"larder source check {TILL}",
        f"Square refuses the credentials of {TILL} (HTTP 401)",
    ),
    "throttled": (4, "vendor", f"larder extract --source {TILL}", f"Square throttles {TILL}"),
    "malformed": (4, "vendor", f"larder extract --source {TILL}", "answered with something that cannot be read"),
    "truncated": (4, "vendor", f"larder extract --source {TILL}", "answered with something that cannot be read"),
}


def test_every_fault_of_the_sandbox_is_tested() -> None:
    assert {*SAID, "spoiled"} == {*FAULTS}


@pytest.mark.fault(12)
@pytest.mark.fault(13)
@pytest.mark.fault(17)
@pytest.mark.parametrize("fault", SAID)
def test_a_vendor_that_fails(open_shop: Open, fault: Fault) -> None:
    world = open_shop()
    world.faults.set("square", fault)
    ran = world.larder("extract", "--patience", "0.2")
    assert problem(ran)[:3] == SAID[fault][:3]
    assert SAID[fault][3] in problem(ran)[3]
    assert "sandbox-square" not in ran.out + ran.err, "no secret is printed"
    assert world.larder("load").code == 0
    ads_are_loaded(world)
    nothing_of(world, TILL)

    world.faults.set("square", None)
    ran = world.larder("extract", "--source", TILL)
    assert ran.code == 0, ran.err
    assert world.larder("load").code == 0
    assert world.one("jaffle_shop", "select count(*) from {raw}_square.orders_current") > 200


@pytest.mark.fault(13)
def test_a_vendor_that_is_not_there(open_shop: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        world = open_shop(base_url=nowhere)
        ran = world.larder("extract", "--patience", "0.2")
    assert problem(ran)[:3] == (4, "vendor", f"larder extract --source {TILL}")
    assert problem(ran)[3].startswith(f"Square at {nowhere} cannot be reached:")
    assert world.larder("load").code == 0
    ads_are_loaded(world)


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"since": "soon"}, f"source {TILL}: since 'soon' is not an ISO date"),
        ({"colour": "red"}, f"source {TILL}: Square has no setting 'colour'; known: base_url, "),
        ({"base_url": "square"}, f"source {TILL}: base_url 'square' is not a web address"),
    ],
)
def test_a_wrong_config(open_shop: Open, config: dict[str, Any], cause: str) -> None:
    world = open_shop(**config)
    ran = world.larder("extract")
    assert problem(ran)[:3] == (2, "config", f"larder source check {TILL}")
    assert problem(ran)[3].startswith(cause)
    assert world.larder("load").code == 0
    ads_are_loaded(world)
    nothing_of(world, TILL)


RECORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown currency": (
        {"total_money.currency": "XYZ"},
        "unknown_currency",
        "total_money.currency is 'XYZ', no ISO 4217 currency",
    ),
    "without its key": ({"id": None}, "no_key", "the record has no value at its natural key (id)"),
    "NUL in a text": (
        {"ticket_name": {"raw": r'"a\u0000b"'}},
        "not_jsonb",
        r"a text holds \u0000, which jsonb refuses",
    ),
    "a number beyond numeric": ({"version": {"raw": "1e200000"}}, "not_jsonb", "1e200000"),
}


def spoiled(world: World, members: dict[str, Any]) -> None:
    """Extract with one order of the till's only page given other members; everything else as it should be."""
    assert world.larder("extract", "--source", ADS).code == 0
    assert world.larder("extract", "--source", TILL, "--stream", "locations").code == 0
    world.faults.set("square", "spoiled", at="/v2/orders", **members)
    assert world.larder("extract", "--source", TILL, "--stream", "orders").code == 0
    world.faults.set("square", None)


@pytest.mark.fault(18)
@pytest.mark.parametrize("case", RECORDS)
def test_a_bad_record_is_set_aside_and_its_neighbours_load(open_shop: Open, case: str, figure: Figure) -> None:
    members, reason, detail = RECORDS[case]
    world = open_shop()
    spoiled(world, members)
    ran = world.larder("load")
    assert ran.code == 0, ran.err
    assert "1 records could not be loaded and are in quarantine; next: larder quarantine list" in ran.out
    ledger = "select records, versions, quarantined from {raw}.loaded_blocks where stream = 'orders'"
    ((records, versions, quarantined),) = world.rows("jaffle_shop", ledger)
    assert (quarantined, versions) == (1, records - 1) and records > 200
    figure("records set aside", quarantined)
    ads_are_loaded(world)

    (row,) = world.larder("quarantine", "list", "--json").json
    assert (row["source"], row["stream"], row["reason"], row["state"]) == (TILL, "orders", reason, "open")
    assert detail in row["detail"]
    shown = world.larder("quarantine", "show", "--json", "--", str(row["id"])).json
    assert '"location_id"' in shown["payload_text"], "as it was received"
    assert world.one("jaffle_shop", "select count(*) from {raw}_square.orders_current") == records - 1
    tried = world.larder("quarantine", "retry", "--json").json
    assert [(one["tried"], one["still in quarantine"]) for one in tried] == [(1, 1)], "nothing was mended"


@pytest.mark.fault(18)
def test_retried_after_a_fix_it_is_what_a_clean_load_gives(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    world, clean = open_shop(), open_shop()
    spoiled(world, {"total_money.currency": "XYZ"})
    assert world.larder("load").code == 0
    versions = (
        "select source_id, natural_key, operation, modified_at, observed_at, block_id, ordinal, hash, payload::text"
        " from {raw}_square.orders order by 1, 2"
    )
    before = world.rows("jaffle_shop", versions)

    monkeypatch.setattr(
        "ingestion.checks.ISO_4217", frozenset({"USD", "XYZ"})
    )  # the list of currencies is brought up to date
    assert [row["loaded"] for row in world.larder("quarantine", "retry", "--json").json] == [1]
    assert world.larder("quarantine", "list").out == "quarantine: empty\n"
    shutil.copytree(world.home / "blocks", clean.home / "blocks")
    assert clean.larder("blocks", "reindex").code == 0
    assert clean.larder("load").code == 0
    after = world.rows("jaffle_shop", versions)
    assert after == clean.rows("jaffle_shop", versions) and len(after) == len(before) + 1
    ledger = (
        "select block_id, records, versions, unchanged, superseded, quarantined, discarded"
        " from {raw}.loaded_blocks order by 1"
    )
    assert world.rows("jaffle_shop", ledger) == clean.rows("jaffle_shop", ledger)
