"""`larder debug` on a small project with the repository's macros: what it says of a facet, or of a wrong question."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from ingestion.clock import real_time
from orchestration.dbt_worker import DbtProject
from orchestration.mark import code_fingerprint, look, set_mark
from orchestration.results import Job
from orchestration.retarget import retarget
from orchestration.transform import connect, target_of
from sharding.access.roles import arrange
from sharding.catalogue import Catalogue
from sharding.ids import make_id
from sharding.model import TRANSFORMER, Shard
from sharding.settings import Settings
from tests.cli.conftest import Ran
from tests.conftest import Server

ROOT = Path(__file__).parents[2]

PROJECT = {
    "name": "larder",
    "profile": "larder",
    "on-run-start": ["{{ prepare_changed_facets() }}"],
    "flags": {"send_anonymous_usage_stats": False},
    "models": {"larder": {"+schema": "marts", "+materialized": "changed_facets"}},
}
SOURCES = """
sources:
  - name: till
    schema: raw
    tables:
      - {name: sale_line, config: {meta: {feed: true}}}
"""
DAY = "{{ config(unique_key=['location_id', 'business_date'], facet=['location_id', 'business_date']"
MODELS = {
    "fct_line": "{{ config(unique_key='line_id', facet=['location_id', 'business_date']) }}"
    " select line_id, location_id, business_date, amount from {{ source('till', 'sale_line') }}",
    "sum_day": DAY + ") }} select location_id, business_date, sum(amount) as sales, '100%' as note"
    " from {{ ref('fct_line') }} group by 1, 2",
    "sum_change": DAY
    + """,
        facet_from={'sum_day': '
            select location_id, business_date + n from changed cross join generate_series(0, 1) as n'},
        slice={'sum_day': '(location_id, business_date) in (
            select location_id, business_date - n from facets cross join generate_series(0, 1) as n)'}) }}
        select location_id, business_date, sales - lag(sales) over (order by location_id, business_date) as up
        from {{ ref('sum_day') }}""",
    "sum_share": DAY
    + ") }} select location_id, business_date, sales / sum(sales) over () as share from {{ ref('sum_day') }}",
    "dim_size": "{{ config(unique_key='n') }} select count(*) as n from {{ ref('fct_line') }}",
    "writes": DAY + ") }} {% do run_query('create table marts.made (n int)') if execute and flags.WHICH == 'compile' %}"
    " select location_id, business_date from {{ ref('sum_day') }}",
}
HERE = make_id(7, 1)


@dataclass(frozen=True)
class Shop:
    """A shard on which the project was built, and the command line that looks at it."""

    larder: Callable[..., Ran]
    shard: Shard

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.shard.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(self.shard.render(statement))
            return cursor.fetchall() if cursor.description else []

    def debug(self, model: str, facet: str = f"location_id={HERE},business_date=2024-04-02", *more: str) -> Ran:
        return self.larder("debug", model, "--facet", facet, *more)


@pytest.fixture
def shop(
    larder: Callable[..., Ran],
    settings: Settings,
    catalogue: Catalogue,
    server: Server,
    shard: Shard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    project, here = tmp_path / "project", Path.cwd()
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(yaml.safe_dump(PROJECT))
    (project / "models" / "_sources.yml").write_text(SOURCES)
    for name, sql in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(sql)
    shutil.copytree(ROOT / "macros" / "changed_facets", project / "macros" / "changed_facets")
    shutil.copy(ROOT / "macros" / "schemas.sql", project / "macros")
    monkeypatch.setattr("sharding.settings.project_root", lambda: project)

    catalogue.add_business("cafe", "Café", "shard_1", business=7)
    made = Shop(larder, shard)
    made.sql(f"""
        insert into {{keys}}.location (id, parent_id, name) values ({HERE}, {make_id(7, 0)}, 'High Street');
        create table {{raw}}.sale_line (
            line_id int primary key, location_id bigint, business_date date, amount numeric(9, 2)
        );
        insert into {{raw}}.sale_line values
            (1, {HERE}, '2024-04-01', 10), (2, {HERE}, '2024-04-02', 5), (3, {HERE}, '2024-04-02', 7.5)
    """)
    arrange(shard)
    owned = shard.render(f"alter table {{raw}}.sale_line owner to {TRANSFORMER}")  # whose feed it is to keep
    server.execute(owned, shard.database, as_superuser=True)
    dbt = DbtProject(project, settings.home / "dbt")
    dbt.parse()
    target = target_of(shard)
    retarget(dbt.manifest, dbt._names, target.database, target.schema)
    dbt._invoke(target, ["run-operation", "watch_sources"])
    built = dbt.build(Job(target, tests=False))
    assert built.ok, [node.message for node in built.failed]
    code = code_fingerprint(project)
    with closing(connect(target)) as connection:
        set_mark(connection, target.schema, look(connection, target.schema, code, real_time()), code)
    yield made
    os.chdir(here)


def test_a_facet_that_is_as_its_select_says(shop: Shop) -> None:
    told = shop.debug("sum_day", "location_id=cafe/High Street,business_date=2024-04-02", "--json")
    assert told.code == 0, told.out
    found = told.json
    assert found["facet"] == {"location_id": str(HERE), "business_date": "2024-04-02"}
    assert (found["equal"], found["rows_in_table"], found["facet_local"]) == (True, 1, True)
    assert found["computed"] == [
        {"location_id": str(HERE), "business_date": "2024-04-02", "sales": "12.50", "note": "100%"}
    ]
    assert (found["upstream_not_built"], found["news"]["parents"]) == ([], [])
    assert found["mark"]["seen"] and found["mark"]["whole_next_time"] is None
    assert [change["reason"] for change in found["changes"]] == ["first build"]
    [parent] = found["parents"]
    assert (parent["name"], parent["reads"], parent["count"]) == ("fct_line", "facet", 2)
    assert {row["line_id"] for row in parent["rows"]} == {2, 3}

    by_name = ("business_date=2024-04-02,location_id=High Street", "--business", "cafe")
    [before] = shop.debug("sum_change", *by_name, "--json").json["parents"]
    assert (before["reads"], before["count"]) == ("slice", 2)
    printed = shop.debug("sum_day").out
    assert "equal: the table holds what its SELECT gives now, 1 row" in printed and "fct_line: 2 of 2 rows" in printed


def test_a_table_that_is_behind_and_one_that_was_written_by_hand(shop: Shop) -> None:
    shop.sql("update {raw}.sale_line set amount = 6 where line_id = 2; delete from {raw}.sale_line where line_id = 3")
    behind = shop.debug("fct_line", f"location_id={HERE},business_date=2024-04-02", "--json")
    assert behind.code == 5
    assert behind.json["news"] == {"parents": ["till.sale_line"], "touch_this_facet": True}
    assert behind.json["differing"] == [
        {"key": {"line_id": 2}, "column": "amount", "table": "5.00", "computed": "6.00"}
    ]
    assert [row["line_id"] for row in behind.json["surplus"]] == [3] and behind.json["missing"] == []
    assert "it has yet to be built; next: larder build --shard shard_1" in shop.debug("fct_line").out
    below = shop.debug("sum_change", f"location_id={HERE},business_date=2024-04-02", "--json")
    assert (below.code, below.json["upstream_not_built"]) == (0, ["fct_line"])
    elsewhere = shop.debug("fct_line", f"location_id={HERE},business_date=2024-04-01", "--json")
    assert (elsewhere.code, elsewhere.json["news"]["touch_this_facet"]) == (0, False)

    shop.sql("delete from {marts}.sum_day where business_date = '2024-04-02'")
    spoiled = shop.debug("sum_day")
    assert spoiled.code == 5
    assert "Missing in the table: 1" in spoiled.out and "no change of a parent explains it" in spoiled.out
    assert "larder build --shard shard_1 --select sum_day --full-refresh" in spoiled.out
    assert shop.sql("select count(*) from {marts}.sum_day") == [(1,)]


def test_a_model_that_is_not_facet_local_is_named(shop: Shop) -> None:
    found = shop.debug("sum_share", f"location_id={HERE},business_date=2024-04-02", "--json")
    assert (found.code, found.json["equal"], found.json["facet_local"]) == (0, True, False)
    assert "not facet-local" in shop.debug("sum_share").out


def test_questions_without_an_answer_say_what_to_ask(shop: Shop) -> None:
    def refused(*arguments: str) -> str:
        ran = shop.debug(*arguments)
        assert (ran.code, ran.out) == (2, ""), ran
        assert "Traceback" not in ran.err
        return " ".join(ran.err.split())

    assert "there is no model 'sum_days'; did you mean sum_day" in refused("sum_days")
    assert "dim_size has no facet: it is small, and computed whole" in refused("dim_size")
    other = refused("sum_day", "item_id=1")
    assert "item_id is no facet column of sum_day; its facet is (location_id, business_date)" in other
    assert "larder debug sum_day --facet location_id=…,business_date=…" in other
    assert "business_date is not given" in refused("sum_day", f"location_id={HERE}")
    assert "'business_date' has no value" in refused("sum_day", f"location_id={HERE},business_date=")
    none = refused("sum_day", f"location_id={HERE},business_date=2020-01-01")
    assert "neither its table nor a parent has a row of it" in none
    assert 'larder sql --shard shard_1 "select distinct location_id, business_date from marts.sum_day' in none
    assert 'invalid input syntax for type date: "today-ish"' in refused(
        "sum_day", f"location_id={HERE},business_date=today-ish"
    )
    assert "whose location_id is 'High Street'?" in refused(
        "sum_day", "location_id=High Street,business_date=2024-04-02"
    )
    assert "there is no location 'Low Street' of its own" in refused(
        "sum_day", "location_id=cafe/Low Street,business_date=2024-04-02"
    )
    assert "cannot execute CREATE TABLE in a read-only transaction" in refused("writes")
    shop.sql("drop table {marts}.sum_change")
    assert "sum_change was never built on shard_1" in refused("sum_change")
