"""Records that are set aside: one letter a reason and stream, how many there are and what to do, and one when over."""

from __future__ import annotations

from contextlib import closing
from typing import Any, get_args
from uuid import UUID

import pytest

from ingestion import index, quarantine
from ingestion.checks import Reason
from ingestion.registry import discover
from orchestration.mark import Look
from orchestration.notices.causes import Heard
from orchestration.notices.classes import MEANING, SET_ASIDE
from orchestration.shard_pass import _news_of_quarantine
from sharding.model import LOADER
from tests.orchestration.notices.told import GUEST, Told, moment

LOADED: Any = {"steps": ("extract", "load")}  # dbt has no part in it
SCANS = "select seq_scan + idx_scan from pg_stat_user_tables where relname = 'quarantine'"


def keyless(told: Told, business: str, number: int = 1) -> None:
    """Records that do not say which they are, and everything about a guest."""
    told.shop.sales[business] += [
        {"other": f"k{n}", "total": "1", "day": "2025-03-10", "changed": moment(told.shop), **GUEST}
        for n in range(number)
    ]


def not_jsonb(told: Told, business: str, key: str) -> None:
    told.shop.sales[business].append(
        {"id": key, "total": "1", "day": "2025-03-10", "changed": moment(told.shop), "note": f"{GUEST}\0"}
    )


def open_records(told: Told, business: str) -> list[dict[str, Any]]:
    shard = told.shop.shards[("cafe", "diner").index(business)].as_role(LOADER)
    return quarantine.listed(shard.dsn, shard.schemas)


def give_up(told: Told, business: str, ids: list[int]) -> None:
    """As `larder quarantine discard` does."""
    shard = told.shop.shards[("cafe", "diner").index(business)].as_role(LOADER)
    number = told.shop.installation.catalogue.business(business).id
    assert quarantine.discard(shard.dsn, shard.schemas, number, ids, "sent anew") == len(ids)


def retry_with_other_key(told: Told, business: str) -> None:
    """As `larder quarantine retry` does, once the integration knows the vendor's new key."""
    shard = told.shop.shards[("cafe", "diner").index(business)].as_role(LOADER)
    specs = dict(discover())
    stream = specs["acme"].streams[0].model_copy(update={"natural_key": ["other"]})
    specs["acme"] = specs["acme"].model_copy(update={"streams": [stream]})
    ids = [row["quarantine_id"] for row in open_records(told, business)]
    at = told.shop.installation
    with closing(index.connect(at.catalogue.dsn)) as control:

        def find(block: UUID) -> Any:
            return index.find_block(control, block)

        result = quarantine.retry(shard.dsn, shard.schemas, ids, find, at.store, specs)
    assert (result.total("quarantined"), result.failures) == (0, [])


def first_lines(news: list[str]) -> list[str]:
    return sorted(text.splitlines()[0].strip().removeprefix("Larder: ") for text in news)


def test_one_letter_a_reason_with_how_many_and_what_to_do_and_one_when_over(told: Told) -> None:
    shop = told.shop
    shop.sell("cafe", "good", "1")
    keyless(told, "cafe", 3)
    not_jsonb(told, "cafe", "n1")
    told.cycle(**LOADED)
    data, shape = sorted(told.news())
    assert first_lines([data, shape]) == [
        "1 record of Acme set aside, for cafe/till (vendor data)",
        "3 records of Acme set aside, for cafe/till (changed shape)",
    ]
    (block,) = {str(row["block_id"]) for row in open_records(told, "cafe")}
    for line in (
        "what       quarantine: Acme, sales", "for whom   cafe/till (Cafe, shard_1)",
        "records    3 records in quarantine; what stood beside them is loaded",
        "cause      records without a value at their natural key (no_key)", "class      changed shape: ",
        f"reproduce  larder reproduce {block} --load-only", "look       larder quarantine list --source cafe/till",
        "then       after a fix here: larder quarantine retry --source cafe/till", "all of it  larder notices show ",
    ):  # fmt: skip
        assert f"  {line}" in shape, shape
    assert "records with a text or number that no database takes (not_jsonb)" in data

    # More of the same, and at another business: counted, and no letter; other data that no database takes are its own.
    keyless(told, "cafe", 2)
    keyless(told, "diner")
    not_jsonb(told, "diner", "n2")
    told.cycle(**LOADED)
    assert first_lines(told.news()) == ["1 record of Acme set aside, for diner/till (vendor data)"]
    with closing(index.connect(shop.installation.catalogue.dsn)) as conn, conn.cursor() as cur:
        cur.execute(
            "select n.reason, a.who, a.records from control.notices as n"
            " inner join control.notice_affected as a using (notice) order by 1, 2"
        )
        assert cur.fetchall() == [
            ("no_key", "cafe/till", 5), ("no_key", "diner/till", 1),
            ("not_jsonb", "cafe/till", 1), ("not_jsonb", "diner/till", 1),
        ]  # fmt: skip

    # The integration learns the new key: what was set aside is loaded. One record is given up.
    give_up(told, "cafe", [row["quarantine_id"] for row in open_records(told, "cafe") if row["reason"] == "not_jsonb"])
    retry_with_other_key(told, "cafe")
    shop.sell("cafe", "later", "1")
    told.cycle(**LOADED)
    assert told.news() == [], "the diner's are still there"
    give_up(told, "diner", [row["quarantine_id"] for row in open_records(told, "diner")])
    shop.sell("diner", "later", "1")
    told.cycle(**LOADED)
    news = told.news()
    assert first_lines(news) == [
        "healed: 2 records of Acme set aside, for 2 sources (vendor data)",
        "healed: 6 records of Acme set aside, for 2 sources (changed shape)",
    ]
    shape = next(text for text in news if "changed shape" in text)
    assert "well again            cafe/till (Cafe, shard_1)" in shape
    assert "given up by a person  diner/till (Diner, shard_2)" in shape

    # It comes again: a new cause.
    keyless(told, "cafe")
    told.cycle(**LOADED)
    assert first_lines(told.news()) == ["1 record of Acme set aside, for cafe/till (changed shape)"]


def test_what_is_set_aside_is_told_of_a_whole_cycle_too_and_an_idle_one_does_not_look(told: Told) -> None:
    keyless(told, "cafe")
    told.cycle()
    assert len(told.news()) == 1
    before = told.shop.rows(0, SCANS)
    told.cycle()
    assert told.shop.rows(0, SCANS) == before and told.news() == []


def test_a_business_that_leaves_the_shard_is_not_called_well(told: Told) -> None:
    keyless(told, "cafe")
    told.cycle(**LOADED)
    shard = told.shop.shards[0].as_role(LOADER)
    (source,) = {row["source_id"] for row in open_records(told, "cafe")}
    group = (source, "sales", "no_key")
    told.shop.rows(0, "update {raw}.quarantine set state = 'resolved', decided_at = now()")
    [over] = quarantine.standing(shard.dsn, shard.schemas, [group], whole=False)
    assert (over.records, over.ended) == (0, "healed")
    told.shop.rows(0, "update {keys}.route set state = 'out'")
    assert quarantine.standing(shard.dsn, shard.schemas, [group]) == []


@pytest.mark.parametrize(("feed", "news"), [("raw_ledger.quarantine", True), ("raw_ledger.read_through", False)])
def test_who_changed_quarantine_by_hand_is_followed_by_the_models_feed(feed: str, news: bool) -> None:
    seen = Look(1, ("acme",), None, {"int_quarantine__by_day": (feed,)})
    assert _news_of_quarantine(seen) is news


def test_each_reason_has_a_class_and_nothing_is_lost_of_what_is_said() -> None:
    from orchestration.events import SetAside

    assert set(SET_ASIDE) == set(get_args(Reason))
    heard = Heard()
    for reason in SET_ASIDE:
        heard.hear(SetAside("shard_1", "cafe", "cafe/till", "acme", "sales", reason, 1, "b"))
    causes = heard.causes({"acme": "Acme"})
    assert all(cause.text == cause.said and cause.kind in MEANING for cause in causes)
    assert len({cause.fingerprint for cause in causes}) == len(SET_ASIDE)
