"""changed_facets, what it looks at: the facets that its parents' changes touch, all of them and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.macros.lines import DAY, NOTHING, ONE, is_right, rows


def test_without_news_nothing_is_done(till: Any) -> None:
    before = rows(till)
    assert till.build() == {"fct_line": NOTHING, "sum_day": NOTHING}
    assert rows(till) == before


def test_a_change_rewrites_its_facet_alone(till: Any) -> None:
    before = rows(till)
    till.sql("update public.line set net = 11 where id = 1")
    said = till.build()
    assert said["fct_line"] == "1 inserted, 1 deleted, 2 unchanged; 1 facet; new in till.line"
    assert said["sum_day"] == ONE
    after = rows(till)
    assert {key for key in before if before[key] != after[key]} == {(1, "2025-03-01")}
    assert till.build() == {"fct_line": NOTHING, "sum_day": NOTHING} and is_right(till)


def test_a_row_that_moves_touches_the_facet_it_leaves(till: Any) -> None:
    """All of a facet's rows: what is left of it is nothing, and only its old key says so."""
    till.sql("update public.line set day = '2025-03-09' where site = 1 and day = '2025-03-02'")
    till.build("--select", "fct_line")
    published = till.sql("select distinct site, day::text from meta.feed__fct_line order by 1, 2")
    assert published == [(1, "2025-03-02"), (1, "2025-03-09")]
    assert till.build()["sum_day"] == "1 inserted, 1 deleted, 0 unchanged; 2 facets; new in fct_line"
    assert (1, "2025-03-02") not in rows(till) and is_right(till)


def test_a_change_that_cancels_out_goes_no_further(till: Any) -> None:
    with till.connect() as writer, writer.cursor() as cursor:
        cursor.execute("begin; insert into public.line values (99, 1, '2025-03-01', 5)")
        cursor.execute("delete from public.line where id = 99; commit")
    till.sql("update public.line set net = 10.0 where id = 4")  # the same number
    said = till.build()
    assert said["fct_line"] == "0 inserted, 0 deleted, 6 unchanged; 2 facets; new in till.line"
    assert said["sum_day"] == NOTHING
    assert till.build()["fct_line"] == NOTHING, "and is not looked at again"


def test_a_change_of_any_age_and_a_truncation(till: Any) -> None:
    till.sql("insert into public.line values (98, 2, '1999-12-31', 1)")
    assert till.build()["sum_day"] == "1 inserted, 0 deleted, 0 unchanged; 1 facet; new in fct_line"
    till.sql("truncate public.line")
    assert till.build()["sum_day"] == "0 inserted, 9 deleted, 0 unchanged; 9 facets; new in fct_line"


def test_a_transaction_open_across_a_build_is_seen_by_the_next(till: Any) -> None:
    """Its number is lower than one that the build saw: no watermark would find it."""
    with till.connect() as slow, slow.cursor() as cursor:
        cursor.execute("begin; insert into public.line values (50, 1, '2025-03-01', 1)")
        till.sql("insert into public.line values (51, 2, '2025-03-01', 2)")
        assert till.build()["sum_day"] == ONE
        assert rows(till)[1, "2025-03-01"][:2] == (30, 3) and rows(till)[2, "2025-03-01"][:2] == (32, 4)
        assert till.build()["sum_day"] == NOTHING
        cursor.execute("commit")
    assert till.build()["sum_day"] == ONE and is_right(till)


def test_a_null_in_the_facet_is_named(till: Any) -> None:
    before = rows(till)
    till.sql("insert into public.line values (77, 1, null, 5)")
    said = till.failure()
    assert "1 changed row(s) of its parents (till.line) have a null in the facet (site, day)" in said
    assert rows(till) == before
    till.sql("update public.line set day = '2025-03-01' where id = 77")
    assert till.build()["fct_line"] == "1 inserted, 0 deleted, 24 unchanged; rows without a facet were put right"
    assert rows(till)[1, "2025-03-01"][0] == before[1, "2025-03-01"][0] + 5 and is_right(till)
    assert till.build()["sum_day"] == NOTHING


def test_a_model_that_tells_of_other_facets_is_refused(till: Any) -> None:
    till.model("sum_day", DAY.replace("select site, day,", "select site, day + 1 as day,"))
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    said = till.failure()
    assert "sum_day: not facet-local" in said and "1 row(s) of others, such as (1, 2025-03-02)" in said
    assert till.sql("select count(*) from marts.sum_day where net = 31") == [(0,)]


REGION = """
{{ config(materialized='changed_facets', unique_key=['region', 'day'], facet=['region', 'day']%s) }}
select region, day, sum(net) as net from {{ ref('fct_line') }} inner join {{ source('till', 'site') }} using (site)
group by region, day
"""
REGION_FROM = """, facet_from={
    'fct_line': 'select region, day from changed inner join till.site using (site)',
    'till.site': 'select changed.region, fct_line.day from changed inner join fct_line using (site)',
}, slice={'fct_line': 'site in (select site from till.site) and day in (select day from facets)'}"""


def test_a_parent_that_cannot_say_the_facet_has_to_be_mapped(till: Any) -> None:
    till.model("sum_region_day", REGION % "")
    till.sql("update public.line set net = 11 where id = 1")
    said = till.failure("--select", "fct_line")
    assert "sum_region_day: its facet (region, day) has a column region that fct_line does not have" in said
    assert "config(facet_from={'fct_line':" in said
    till.model("sum_region_day", REGION % REGION_FROM)
    till.watch()
    till.build()
    till.sql("update public.line set net = 12 where id = 1")
    said = till.build()["sum_region_day"]
    assert said == "1 inserted, 1 deleted, 0 unchanged; 1 facet; new in fct_line"
    till.sql("update public.site set region = 'south' where site = 1")
    assert till.build()["sum_region_day"] == "4 inserted, 8 deleted, 0 unchanged; 8 facets; new in till.site"
    assert till.sql("select region, sum(net) from marts.sum_region_day group by 1") == [("south", 242)]


LIKE = """
{{ config(materialized='changed_facets', unique_key=['site', 'day'], facet=['site', 'day'],
    facet_from={'sum_day': 'select site, day from changed union select site, day + 1 from changed', 'till.site': ''},
    slice={'sum_day': '(site, day) in (select site, day from facets union select site, day - 1 from facets)'}) }}
select now.site, now.day, now.net, before.net as net_before, site.region
from {{ ref('sum_day') }} as now
left join {{ ref('sum_day') }} as before on before.site = now.site and before.day = now.day - 1
left join {{ source('till', 'site') }} as site on site.site = now.site
"""


def test_facet_from_and_slice_reach_beside_the_facet(till: Any) -> None:
    till.model("sum_like", LIKE)
    till.watch()
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    assert till.build()["sum_like"] == "2 inserted, 2 deleted, 0 unchanged; 2 facets; new in sum_day"
    assert till.sql("select net, net_before from marts.sum_like where site = 1 order by day limit 2") == [
        (31, None), (30, 31)
    ]  # fmt: skip
    till.sql("update public.site set region = 'east'")
    assert till.build()["sum_like"] == NOTHING, "a parent mapped to '' never matters by itself"
    till.sql("update public.line set net = 12 where id = 1")
    till.build()
    assert till.sql("select distinct region from marts.sum_like where net = 32") == [("east",)]


SITE = """
{{ config(materialized='changed_facets', unique_key='site') }}
select site, region from {{ source('till', 'site') }}
"""


def test_a_model_without_facets_is_computed_whole_when_a_parent_changed(till: Any) -> None:
    till.model("dim_site", SITE)
    till.watch()
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    assert till.build()["dim_site"] == NOTHING
    till.sql("update public.site set region = 'east' where site = 1")
    assert till.build()["dim_site"] == "1 inserted, 1 deleted, 1 unchanged; new in till.site"


def test_names_of_parents_still_resolve_in_a_slice(till: Any) -> None:
    """Columns qualified with a parent's name, and a CTE that has that name."""
    till.model("sum_day", DAY.replace("sum(net)", "sum(fct_line.net)"))
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    assert till.build()["sum_day"] == ONE
    config, select = DAY.split("select")
    named = "with fct_line as (select * from {{ ref('fct_line') }}) select"
    till.model("sum_day", config + named + select.replace("{{ ref('fct_line') }}", "fct_line"))
    till.build()
    till.sql("update public.line set net = 12 where id = 1")
    assert till.build()["sum_day"] == ONE and is_right(till)


def changed_sql(till: Any) -> None:
    till.model("sum_day", DAY + "having count(*) > 0")


def changed_macro(till: Any) -> None:
    till.macro("net_of_line", "sum( net )")


def changed_view(till: Any) -> None:
    till.model("int_line", "{{ config(materialized='view') }} select *, 1 as one from {{ ref('fct_line') }}")


def changed_facet(till: Any) -> None:
    till.model("sum_day", SUM_BEHIND_VIEW.replace("facet=['site', 'day']", "facet=['day', 'site']"))


SUM_BEHIND_VIEW = DAY.replace("ref('fct_line')", "ref('int_line')").replace("sum(net)", "{{ net_of_line() }}")


@pytest.mark.parametrize("change", [changed_sql, changed_macro, changed_view, changed_facet])
def test_what_decides_a_model_makes_it_anew_and_no_other(till: Any, change: Callable[[Any], None]) -> None:
    till.macro("net_of_line", "sum(net)")
    till.model("int_line", "{{ config(materialized='view') }} select * from {{ ref('fct_line') }}")
    till.model("sum_day", SUM_BEHIND_VIEW)
    till.build()
    assert till.build()["sum_day"] == NOTHING
    change(till)
    said = till.build()
    assert said["fct_line"] == NOTHING
    assert said["sum_day"] == "0 inserted, 0 deleted, 8 unchanged; the model changed"
    assert till.build()["sum_day"] == NOTHING


def test_a_view_between_passes_the_facets_on(till: Any) -> None:
    till.macro("net_of_line", "sum(net)")
    till.model("int_line", "{{ config(materialized='view') }} select * from {{ ref('fct_line') }}")
    till.model("sum_day", SUM_BEHIND_VIEW)
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    assert till.build()["sum_day"] == ONE and is_right(till)


def test_a_parent_without_a_feed_says_what_to_run(till: Any) -> None:
    till.sql("create table public.extra (site int, day date, extra int)")
    till.source("till", "line", "site", "extra")
    till.model("sum_extra", DAY.replace("ref('fct_line')", "source('till', 'extra')").replace("sum(net)", "sum(extra)"))
    assert "till.extra has no feed" in till.failure("--select", "sum_extra")
    till.model("sum_day", DAY)
    assert "dbt run-operation watch_sources" in till.failure("--select", "sum_extra")
    till.watch()
    assert till.build()["sum_extra"] == "0 inserted, 0 deleted, 0 unchanged; first build"
