"""A reimport to its end: the summaries follow, the live cursor stays, and what is fresh goes first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from ingestion.preview import Day
from orchestration.cycle import Scope, run_cycle
from orchestration.reimport import Reimport, Zone
from tests.orchestration.shop import Shop

DAY = date(2025, 3, 10)


def reimport(shop: Shop, business: str) -> Reimport:
    at = shop.installation
    return Reimport(at.catalogue, at.store, shop.clock, at.catalogue.source(f"{business}/till"), at.catalogue.home)


def sums(shop: Shop, shard: int) -> list[tuple[object, ...]]:
    return shop.rows(shard, "select business_date, net_sales from {marts}.sum_sales_day order by 1")


def test_the_summaries_follow(shop: Shop) -> None:
    shop.sell("cafe", "a", "3.10")
    shop.sell("cafe", "b", "4.00")
    shop.sell("diner", "c", "7.25")
    run_cycle(shop.installation)
    cursors = "select source_id, stream, cursor, due_at, block_id from control.cursors order by 1"
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute(cursors)
        before = cur.fetchall()
    shop.sales["cafe"][0]["total"] = "3.60"  # changed at the vendor without a word
    shop.sell("cafe", "d", "1.00")

    work = reimport(shop, "cafe")
    with work.run(work.days(DAY, DAY), None, 5.0) as running:
        assert running.preview.days == {
            ("sales", DAY): Day(new=1, changed=1, amounts={"total": Decimal("1.50")}),
        }
        assert running.preview.unchanged == 1
        assert sums(shop, 0) == [(DAY, Decimal("7.1000"))], "only looked at"
        adopted = running.adopt()
    assert [m.lane for m in adopted] == ["bulk"]
    report = run_cycle(shop.installation, Scope(steps=("load", "build"), shards=frozenset({"shard_1"})))
    assert [(e.source, e.versions) for e in report.loaded] == [("cafe/till", 2)]
    assert sums(shop, 0) == [(DAY, Decimal("8.6000"))] and sums(shop, 1) == [(DAY, Decimal("7.2500"))]
    with shop.installation.catalogue.connect() as conn, conn.cursor() as cur:
        cur.execute(cursors)
        assert cur.fetchall() == before

    shop.now += timedelta(minutes=10)
    shop.sell("cafe", "e", "2.00")
    assert not run_cycle(shop.installation).failures
    assert sums(shop, 0) == [(DAY, Decimal("10.6000"))], "the live extract goes on"
    with work.run(work.days(DAY, DAY), None, 5.0) as running:
        assert running.preview.changes == 0


def test_days_are_the_business_s_own(shop: Shop) -> None:
    work = reimport(shop, "cafe")
    assert work.zones() == [Zone("UTC", timedelta(0))], "nobody has told a time zone yet"
    shop.rows(
        0,
        "with place as (insert into {keys}.location (parent_id, name) select {keys}.make_id(business, 0), n"
        " from {keys}.route cross join (values ('east'), ('west')) as places (n) returning id, name)"
        " insert into {keys}.location_setting (location_id, timezone, day_start, decided_by)"
        " select id, case name when 'east' then 'America/New_York' else 'America/Los_Angeles' end, '4 hours', 'test'"
        " from place returning 1",
    )
    asked = work.days(date(2025, 3, 8), date(2025, 3, 9))  # the clocks go forward on the 9th
    assert (asked.start, asked.end) == (datetime(2025, 3, 8, 9, tzinfo=UTC), datetime(2025, 3, 10, 11, tzinfo=UTC))
    assert Zone("America/New_York", timedelta(hours=4)).day_of(datetime(2025, 3, 10, 7, tzinfo=UTC)) == date(2025, 3, 9)
