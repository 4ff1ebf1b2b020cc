"""Key tables are filled by dbt nodes: insert-only, dense in a business, and never from a development schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sharding.ids import business_of, make_id

PLAIN, NEGATIVE, PAUSED = 7, 2**18 + 6, 9
SALES = "select source_id, natural_key, source_id as parent_id from {{ source('till', 'sales') }}"
EMPLOYEES = """
{{ config(materialized='conformed_key_table') }}
select keys.id as source_employee_id, keys.source_id, people.name, people.priority, people.rule, people.match_key
from {{ ref('keys_source_employee') }} as keys
inner join {{ source('till', 'people') }} as people using (source_id, natural_key)
"""
PEOPLE = "select distinct source_id, natural_key, source_id as parent_id from {{ source('till', 'people') }}"


def prepare(project: Any) -> Any:
    """Three businesses with two sources each, and the key models of sales and employees."""
    for business, state in ((PLAIN, "active"), (NEGATIVE, "active"), (PAUSED, "paused")):
        project.sql(
            "insert into {keys}.route (business, name, display_name, state) values (%s, %s, %s, %s)",
            business, f"b{business}", f"B {business}", state,
        )  # fmt: skip
        for number in (1, 2):
            project.sql(
                "insert into {keys}.source (id, integration, name) values (%s, %s, %s)",
                make_id(business, number), "till", f"till {number}",
            )  # fmt: skip
        project.sql("insert into {keys}.counter (business, next) values (%s, 3)", business)
    project.sql("create table public.sales (source_id bigint, natural_key text)")
    project.sql(
        "create table public.people (source_id bigint, natural_key text, name text, priority int, rule text,"
        " match_key text)"
    )
    project.source("till", "sales", "people")
    project.model("keys_sale", SALES, "keys")
    project.model("keys_source_employee", PEOPLE, "keys")
    project.model("keys_employee", EMPLOYEES, "keys")
    project.model(
        "keys_employee_map", "{{ config(materialized='conformed_map') }} -- {{ ref('keys_employee') }}", "keys"
    )
    project.watch()
    return project


@pytest.fixture
def keys(project: Any) -> Any:
    return prepare(project)


def sell(project: Any, business: int, *natural_keys: str, source: int = 1) -> None:
    for natural_key in natural_keys:
        project.sql("insert into public.sales values (%s, %s)", make_id(business, source), natural_key)


def test_ids_are_drawn_once_and_densely(keys: Any) -> None:
    sell(keys, PLAIN, "a", "b", "b")
    sell(keys, NEGATIVE, "a")
    assert keys.build()["keys_sale"].startswith("3 inserted")
    first = keys.sql("select natural_key, id, source_id from {keys}.sale order by id")
    assert [row[:2] for row in first] == [
        ("a", make_id(NEGATIVE, 3)), ("a", make_id(PLAIN, 3)), ("b", make_id(PLAIN, 4)),
    ]  # fmt: skip
    assert all(business_of(row[1]) == business_of(row[2]) for row in first)
    sell(keys, PLAIN, "c")
    keys.sql("delete from public.sales where natural_key = 'a'")
    assert keys.build("--full-refresh")["keys_sale"].startswith("1 inserted")
    later = keys.sql("select natural_key, id, source_id from {keys}.sale")
    assert set(first) < set(later) and len(later) == 4


def test_without_news_no_key_is_looked_for(keys: Any) -> None:
    sell(keys, PLAIN, "a")
    keys.build()
    said = keys.build()
    models = ("keys_sale", "keys_source_employee", "keys_employee")
    assert {said[m] for m in models} == {"0 inserted, 0 deleted, 0 unchanged; nothing new"}
    hire(keys, 1, "ana", None, None)
    said = keys.build()
    assert said["keys_sale"].endswith("nothing new")
    assert said["keys_employee"] == "1 inserted, 0 deleted, 0 unchanged; new in till.people, keys_source_employee"


def test_keys_are_looked_for_in_the_changed_facets_and_publish_them(keys: Any) -> None:
    """The facet has a column that the table has not: it is published, for what reads the key and the facet."""
    keys.model(
        "keys_sale",
        "{{ config(facet=['source_id', 'kind']) }} " + SALES.replace(" from", ", left(natural_key, 1) as kind from")
        .replace("source('till', 'sales')", "ref('sales')"),
        "keys",
    )  # fmt: skip
    keys.model(
        "sales",
        "{{ config(materialized='changed_facets', unique_key=['source_id', 'natural_key'],"
        " facet=['source_id', 'kind']) }}"
        " select distinct source_id, natural_key, left(natural_key, 1) as kind from {{ source('till', 'sales') }}",
    )
    keys.model(
        "kinds",
        "{{ config(materialized='changed_facets', unique_key=['source_id', 'kind'], facet=['source_id', 'kind']) }}"
        " select sales.source_id, kind, max(keys.id) as id from {{ ref('sales') }} as sales"
        " inner join {{ ref('keys_sale') }} as keys using (source_id, natural_key) group by 1, 2",
    )
    keys.sql("alter table public.sales add column kind text generated always as (left(natural_key, 1)) stored")
    keys.watch()
    sell(keys, PLAIN, "a1", "b1")
    keys.build()
    sell(keys, PLAIN, "a2")
    said = keys.build()
    assert said["keys_sale"] == "1 inserted, 0 deleted, 0 unchanged; 1 facet; new in sales"
    assert said["kinds"].startswith("1 inserted, 1 deleted, 0 unchanged; 1 facet; new in ")
    assert "keys_sale" in said["kinds"]
    assert keys.sql("select kind, id = (select max(id) from {keys}.sale) from marts.kinds order by 1") == [
        ("a", True), ("b", False)
    ]  # fmt: skip


def test_a_business_that_takes_no_writes_gets_no_ids(keys: Any) -> None:
    sell(keys, PAUSED, "a")
    assert keys.build()["keys_sale"].startswith("0 inserted")
    keys.sql("update {keys}.route set state = 'active' where business = %s", PAUSED)
    assert keys.build()["keys_sale"].startswith("1 inserted"), "what was left out meanwhile is not forgotten"


def test_development_reads_production_and_writes_nothing_to_it(keys: Any) -> None:
    sell(keys, PLAIN, "a")
    keys.build()
    sell(keys, PLAIN, "b", "c")
    before = keys.sql("select * from {keys}.sale"), keys.sql("select * from {keys}.counter order by 1")
    assert keys.build(target="dev")["keys_sale"].startswith("2 inserted")
    assert keys.build(target="dev")["keys_sale"].startswith("0 inserted")
    assert (keys.sql("select * from {keys}.sale"), keys.sql("select * from {keys}.counter order by 1")) == before
    seen = dict(keys.sql("select natural_key, id from dev_ada.keys_sale"))
    assert seen["a"] == before[0][0][0]
    assert sorted((seen["b"], seen["c"])) == [make_id(PLAIN, 2**45 - 2), make_id(PLAIN, 2**45 - 1)]

    keys.build()
    assert dict(keys.sql("select natural_key, id from dev_ada.keys_sale")) == dict(
        keys.sql("select natural_key, id from {keys}.sale")
    )


def hire(project: Any, source: int, natural_key: str, payroll_id: str | None, email: str | None) -> None:
    for priority, rule, match_key in ((1, "payroll_id", payroll_id), (2, "email", email)):
        project.sql(
            "insert into public.people values (%s, %s, %s, %s, %s, %s)",
            make_id(PLAIN, source), natural_key, natural_key.title(), priority, rule, match_key,
        )  # fmt: skip


def mapped(project: Any, schema: str = "{keys}") -> dict[str, tuple[int, str]]:
    prefix = "keys_" if schema.startswith("dev") else ""
    found = project.sql(
        f"select s.natural_key, m.employee_id, m.rule from {schema}.{prefix}employee_map as m"
        f" inner join {schema}.{prefix}source_employee as s on s.id = m.source_employee_id"
    )
    return {key: (own, rule) for key, own, rule in found}


def test_people_are_recognised_by_payroll_id_then_email_and_only_across_sources(keys: Any) -> None:
    hire(keys, 1, "ana", "17", "ana@example.org")
    hire(keys, 1, "ana's double", "17", None)
    hire(keys, 1, "ben", None, "ben@example.org")
    keys.build()
    hire(keys, 2, "a.", "17", "ben@example.org")
    hire(keys, 2, "b.", None, "ben@example.org")
    hire(keys, 2, "nobody", None, None)
    assert keys.build()["keys_employee"].startswith("3 inserted")
    found = mapped(keys)
    assert found["ana"][1] == found["ana's double"][1] == found["ben"][1] == found["nobody"][1] == "itself"
    assert found["ana"][0] != found["ana's double"][0]
    assert found["a."] == (min(found["ana"][0], found["ana's double"][0]), "payroll_id")
    assert found["b."] == (found["ben"][0], "email")
    assert keys.sql("select count(*) from {keys}.employee") == [(4,)]


def test_a_persons_decision_is_never_overruled(keys: Any) -> None:
    hire(keys, 1, "ana", "17", None)
    hire(keys, 2, "a.", "18", None)
    keys.build()
    ana = mapped(keys)["ana"][0]
    keys.sql("update {keys}.employee_map set employee_id = %s, rule = 'approved' where employee_id <> %s", ana, ana)
    hire(keys, 2, "other", None, None)
    keys.build("--full-refresh")
    assert mapped(keys)["a."] == (ana, "approved")


def test_development_maps_new_people_in_its_own_schema(keys: Any) -> None:
    hire(keys, 1, "ana", "17", None)
    keys.build()
    hire(keys, 2, "a.", "17", None)
    hire(keys, 2, "new", None, None)
    before = mapped(keys)
    keys.build(target="dev")
    assert mapped(keys) == before
    found = mapped(keys, "dev_ada")
    assert found["ana"] == before["ana"] and found["a."] == (before["ana"][0], "payroll_id")
    assert found["new"][1] == "itself" and business_of(found["new"][0]) == PLAIN


def test_a_shard_behind_a_namespace(make_project: Callable[..., Any]) -> None:
    keys = prepare(make_project("acme"))
    sell(keys, PLAIN, "a")
    hire(keys, 1, "ana", None, None)
    keys.build()
    assert keys.sql("select source_id from acme_keys.sale") == [(make_id(PLAIN, 1),)]
    assert keys.sql("select count(*) from acme_meta.model_change where model = 'keys_sale'") == [(1,)]
