"""changed_facets, what it looks at: the facets that its parents' changes touch, all of them and no others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
import yaml

from sharding.model import postgres_url
from tests.macros.lines import DAY, LINE, NOTHING, ONE, is_right, rows
from tests.waiting import until


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


WAITING = "select pid from pg_stat_activity where wait_event = 'advisory' and query ilike %s"


@contextmanager
def meanwhile(till: Any, held: str, at: str, *statements: str) -> Iterator[None]:
    """Statements that commit while a build waits for the advisory lock `held` in a query like `at`."""
    failed: list[BaseException] = []

    def interfere() -> None:
        try:
            until(lambda: till.sql(WAITING, f"%{at}%"), why="the build never came there")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("commit")
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            failed.append(error)
        finally:
            cursor.execute("rollback")  # a build that waits in vain would wait for ever

    with till.connect() as other, other.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute(f"select pg_advisory_xact_lock({held})")
        thread = threading.Thread(target=interfere)
        thread.start()
        yield
        thread.join()
    assert not failed, failed


def test_what_commits_while_it_is_read_is_read_too(till: Any) -> None:
    """A facet would be half old; and where what commits has no facet, no facets say what to read: it is read whole."""
    gate = "cross join (select pg_advisory_xact_lock_shared(7)::text as held) as gate where held is not null"
    till.model("fct_line", LINE + gate)
    till.build()
    till.sql("update public.line set net = 11 where id = 1")
    with meanwhile(till, "7", "fct_line__result", "update public.line set net = 12 where id = 4"):
        said = till.build("--select", "fct_line")["fct_line"]
    assert said == "2 inserted, 2 deleted, 4 unchanged; 2 facets; new in till.line"
    till.sql("update public.line set net = 13 where id = 1")
    there = "insert into public.line values (77, 1, null, 5)"
    with meanwhile(till, "7", "fct_line__result", there, "delete from public.line where id = 77"):
        said = till.build("--select", "fct_line")["fct_line"]
    assert said == "1 inserted, 1 deleted, 23 unchanged; rows without a facet were put right"
    till.build()
    assert is_right(till)


def test_two_that_miss_the_same_index_make_it_once(till: Any) -> None:
    till.model("sum_site", DAY.replace("'day'", "'region'").replace("site, day", "site, region"))
    till.model("fct_line", LINE.replace("day, net", "day, 'n' || site as region, net"))
    index = "create index fct_line_site_region_idx on marts.fct_line (site, region)"
    with meanwhile(till, "hashtextextended('marts.fct_line', 19451)", "19451", index):
        till.build()
    covering = "select count(*) from pg_indexes where tablename = 'fct_line' and indexdef like '%%(site, region)'"
    assert till.sql(covering) == [(1,)]


def test_a_loader_needs_no_right_on_feeds(till: Any) -> None:
    till.sql("""
        create role till_loader login password 'till_loader' role current_user;
        grant connect on database macros to till_loader;
        grant select, insert, update, delete, truncate on public.line to till_loader
    """)
    at = till.shard
    try:
        url = postgres_url("till_loader", "till_loader", at.host, at.port, at.database)
        with psycopg2.connect(url) as loader, loader.cursor() as cursor:
            cursor.execute("update public.line set net = 11 where id = 1")
        loader.close()
        assert till.build()["sum_day"] == ONE and is_right(till)
    finally:
        till.sql("drop owned by till_loader; drop role till_loader")


def test_a_source_that_nobody_declares_any_more_can_be_written(till: Any) -> None:
    for name in ("fct_line", "sum_day"):
        (till.folder / f"models/{name}.sql").unlink()
        (till.folder / f"models/{name}.yml").unlink()
    till.model("dim_site", SITE)
    till.source("till", "site")
    till.sql("create table public.kept (n int); insert into meta.feed values ('kept', 'public.kept')")
    till.build()
    till.sql("insert into public.line values (99, 1, '2025-03-01', 5)")
    assert till.sql("select to_regclass('meta.feed__till__line')") == [(None,)]
    assert till.sql("select to_regclass('public.kept') is not null") == [(True,)], "somebody else keeps it"


def test_a_feed_learns_a_column_without_losing_what_came_before(till: Any) -> None:
    """The model is built before the source is watched for the column by which it follows it."""
    till.sql("alter table public.site add column city text")
    till.model("sum_city", """
        {{ config(materialized='changed_facets', unique_key=['site'], facet=['site'],
            facet_from={'till.site': 'select site from changed where city is not null'}) }}
        select site, city from {{ source('till', 'site') }}
    """)  # fmt: skip
    till.watch()
    till.sql("alter table meta.feed__till__site drop column city")  # as if it had never been asked for
    till.build()
    till.sql("drop trigger publish_site_update on public.site")
    till.sql("""update public.site set city = 'Lviv' where site = 1;
                insert into meta.feed__till__site (site) values (1)""")  # what a trigger of then published
    till.sql("""create trigger publish_site_update after update on public.site
                for each statement execute function meta.feed__till__site_publish()""")
    till.watch()
    till.build()
    assert till.sql("select city from marts.sum_city where site = 1") == [("Lviv",)]


def test_a_facet_of_another_type_is_published_as_it_is_now(till: Any) -> None:
    till.sql("alter table public.line alter column site type text")
    till.watch()
    said = till.build()
    assert said["fct_line"] == "0 inserted, 0 deleted, 24 unchanged; built anew: till.line"
    assert said["sum_day"] == "0 inserted, 0 deleted, 8 unchanged; built anew: fct_line"
    till.sql("update public.line set site = 'corner' where id = 1")
    assert till.build()["sum_day"] == "2 inserted, 1 deleted, 0 unchanged; 2 facets; new in fct_line"
    assert is_right(till)


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
    till.model("sum_day", SUM_BEHIND_VIEW.replace("facet=['site', 'day']", "facet=['day']"))


def changed_variable(till: Any) -> None:
    set_variable(till, "0.00")


def changed_package(till: Any) -> None:
    write_package(till, "( net )")


def set_variable(till: Any, value: str) -> None:
    path = till.folder / "dbt_project.yml"
    project = yaml.safe_load(path.read_text()) | {"vars": {"added": value}}
    path.write_text(yaml.safe_dump(project))


def write_package(till: Any, sql: str) -> None:
    """A package of macros, as `dbt deps` would install it."""
    folder = till.folder / "dbt_packages/rounding"
    (folder / "macros").mkdir(parents=True, exist_ok=True)
    (folder / "dbt_project.yml").write_text("name: rounding\nversion: 1.0.0\nconfig-version: 2\n")
    (folder / "macros/rounded.sql").write_text(f"{{% macro rounded() %}}{sql}{{% endmacro %}}")


SUM_BEHIND_VIEW = (
    DAY.replace("ref('fct_line')", "ref('int_line')")
    .replace("sum(net)", "{{ net_of_line() }}")
    .replace("count(*)", "count({{ rounding.rounded() }} + {{ var('added') }})")
)


def behind_a_view(till: Any) -> None:
    """The sums by way of a view, a macro, a variable and a package's macro."""
    set_variable(till, "0")
    write_package(till, "net")
    till.macro("net_of_line", "sum(net)")
    till.model("int_line", "{{ config(materialized='view') }} select * from {{ ref('fct_line') }}")
    till.model("sum_day", SUM_BEHIND_VIEW)
    till.build()


@pytest.mark.parametrize(
    "change", [changed_sql, changed_macro, changed_view, changed_facet, changed_variable, changed_package]
)
def test_what_decides_a_model_makes_it_anew_and_no_other(till: Any, change: Callable[[Any], None]) -> None:
    behind_a_view(till)
    assert till.build()["sum_day"] == NOTHING
    change(till)
    said = till.build()
    assert said["fct_line"] == NOTHING
    assert said["sum_day"] == "0 inserted, 0 deleted, 8 unchanged; the model changed"
    assert till.build()["sum_day"] == NOTHING


def test_a_view_between_passes_the_facets_on(till: Any) -> None:
    behind_a_view(till)
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
