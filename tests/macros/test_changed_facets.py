"""changed_facets, what it writes: only rows that differ, in one transaction, and the table is never swapped."""

from __future__ import annotations

import random
from typing import Any

import psycopg2
import pytest

MENU = """
{{ config(materialized='changed_facets', unique_key='id', indexes=[{'columns': ['name']}]) }}
select id, name, price from {{ source('till', 'menu') }}
"""


@pytest.fixture
def menu(project: Any) -> Any:
    """A built model `menu` over a table of three dishes."""
    project.sql("create table public.menu (id int, name text, price numeric)")
    project.sql("insert into public.menu values (1, 'soup', 4.5), (2, 'stew', null), (3, 'tea', 2)")
    project.source("till", "menu")
    project.model("menu", MENU)
    project.watch()
    assert project.build()["menu"] == "3 inserted, 0 deleted, 0 unchanged; first build"
    return project


def rows(project: Any) -> dict[int, tuple[Any, ...]]:
    """Each row by id with the transaction that wrote it and its place: both stay where a row is left alone."""
    found = project.sql("select id, name, price, xmin::text, ctid::text from marts.menu")
    return {row[0]: row[1:] for row in found}


def test_only_differing_rows_are_written(menu: Any) -> None:
    before = rows(menu)
    menu.sql("update public.menu set price = 5 where id = 1")
    menu.sql("delete from public.menu where id = 3")
    menu.sql("insert into public.menu values (4, 'pie', 6)")
    assert menu.build()["menu"] == "2 inserted, 2 deleted, 1 unchanged; new in till.menu"
    after = rows(menu)
    assert {i: r[:2] for i, r in after.items()} == {1: ("soup", 5), 2: ("stew", None), 4: ("pie", 6)}
    assert after[2] == before[2]


def test_nothing_is_written_when_nothing_changed(menu: Any) -> None:
    before = rows(menu)
    menu.sql("update public.menu set price = 4.50 where id = 1")  # the same number
    assert menu.build()["menu"] == "0 inserted, 0 deleted, 3 unchanged; new in till.menu"
    assert menu.build("--full-refresh")["menu"] == "0 inserted, 0 deleted, 3 unchanged; full refresh"
    assert menu.build()["menu"] == "0 inserted, 0 deleted, 0 unchanged; nothing new"
    assert rows(menu) == before


def test_what_hangs_from_the_table_survives_a_full_refresh(menu: Any) -> None:
    menu.sql("""
        create role menu_reader role current_user;
        grant select on marts.menu to menu_reader;
        create view public.cheap as select * from marts.menu where price < 3;
        alter table marts.menu enable row level security;
        create policy everything on marts.menu using (true);
        create table public.seen (id int);
        create function public.note() returns trigger language plpgsql as
            $$ begin insert into public.seen values (new.id); return new; end $$;
        create trigger note after insert on marts.menu for each row execute function public.note();
    """)
    try:
        identity = menu.sql("select 'marts.menu'::regclass::oid, pg_relation_filenode('marts.menu')")
        menu.sql("update public.menu set price = 1 where id = 1")
        menu.build("--full-refresh")
        assert menu.sql("select 'marts.menu'::regclass::oid, pg_relation_filenode('marts.menu')") == identity
        assert menu.sql("select id from public.cheap order by 1") == [(1,), (3,)]
        assert menu.sql("select id from public.seen") == [(1,)]
        assert menu.sql("select has_table_privilege('menu_reader', 'marts.menu', 'select')") == [(True,)]
        assert menu.sql("select count(*) from pg_policies where tablename = 'menu'") == [(1,)]
    finally:
        menu.sql("drop owned by menu_reader; drop role menu_reader")


def test_readers_see_the_last_good_state_until_the_commit(menu: Any) -> None:
    """The post-hook runs inside the model's transaction, after the rows were written: the build fails there."""
    mark = "select seen::text, marked_at from meta.mark"
    before = rows(menu), menu.sql(mark)
    menu.sql("update public.menu set price = price + 1")
    menu.model("menu", MENU, config={"post_hook": "select 1 / 0"})
    assert "division by zero" in menu.failure()
    assert (rows(menu), menu.sql(mark)) == before
    assert menu.sql("select count(*) from meta.model_change where model = 'menu'") == [(1,)]
    menu.model("menu", MENU)
    assert menu.build()["menu"] == "2 inserted, 2 deleted, 1 unchanged; new in till.menu"


def test_change_is_recorded_with_the_transaction_that_made_it(menu: Any) -> None:
    menu.sql("delete from public.menu where id = 1")
    menu.build()
    recorded = menu.sql("select inserted, deleted, unchanged, reason, xid::text from meta.model_change order by run_at")
    assert [row[:4] for row in recorded] == [(3, 0, 0, "first build"), (0, 1, 2, "new in till.menu")]
    assert menu.sql("select distinct xmin::text from marts.menu") == [(recorded[0][4],)]


def test_a_build_waits_for_another_of_the_same_model(menu: Any) -> None:
    menu.sql("update public.menu set price = 9 where id = 1")
    menu.sql(f"alter database {menu.shard.database} set lock_timeout = '100ms'")
    with menu.connect() as other, other.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(hashtextextended('marts.menu', 19450))")
        assert "lock timeout" in menu.failure()
    assert menu.build()["menu"] == "1 inserted, 1 deleted, 2 unchanged; new in till.menu"


def test_columns_are_added_removed_and_retyped_in_place(menu: Any) -> None:
    oid = menu.sql("select 'marts.menu'::regclass::oid")
    sql = "select id, price::numeric(9, 2) as price, upper(name) as label from {{ source('till', 'menu') }}"
    menu.model("menu", "{{ config(materialized='changed_facets', unique_key='id') }} " + sql)
    assert menu.build()["menu"] == "3 inserted, 3 deleted, 0 unchanged; the model changed"
    assert menu.sql("select 'marts.menu'::regclass::oid") == oid
    assert menu.sql("select id, label from marts.menu order by 1") == [(1, "SOUP"), (2, "STEW"), (3, "TEA")]
    columns = menu.sql(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'marts.menu'::regclass and attnum > 0 and not attisdropped order by 1"
    )
    assert columns == [("id", "integer"), ("label", "text"), ("price", "numeric(9,2)")]


def test_indexes_are_made_once_and_also_later(menu: Any) -> None:
    def indexes() -> list[str]:
        found = menu.sql("select indexdef from pg_indexes where tablename = 'menu' order by 1")
        return [definition.split(" ON ")[1] for (definition,) in found]

    menu.build()
    assert sorted(indexes()) == ["marts.menu USING btree (id)", "marts.menu USING btree (name)"]
    menu.model("menu", MENU.replace("['name']", "['price', 'name']"))
    menu.build()
    assert "marts.menu USING btree (price, name)" in indexes()


def test_a_key_that_is_renamed_leaves_no_row_behind(menu: Any) -> None:
    """The rows there are have no key by the new name."""
    menu.model("menu", MENU.replace("unique_key='id'", "unique_key='dish'").replace("id, name", "id as dish, name"))
    assert menu.build()["menu"] == "3 inserted, 3 deleted, 0 unchanged; the model changed"
    assert menu.sql("select dish, name from marts.menu order by 1") == [(1, "soup"), (2, "stew"), (3, "tea")]


def test_a_key_with_a_column_more_or_less_is_the_unique_one(menu: Any) -> None:
    menu.model("menu", MENU.replace("'id'", "['id', 'name']"))
    assert menu.build()["menu"] == "3 inserted, 3 deleted, 0 unchanged; the model changed"
    menu.sql("insert into public.menu values (1, 'broth', 4)")
    assert menu.build()["menu"] == "1 inserted, 0 deleted, 3 unchanged; new in till.menu"
    menu.model("menu", MENU)
    assert "1 row(s) with a repeated key (id)" in menu.failure()
    menu.sql("delete from public.menu where name = 'broth'")
    assert menu.build()["menu"] == "3 inserted, 4 deleted, 0 unchanged; the model changed"
    unique = "select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'marts.menu'::regclass and indisunique"
    assert [definition.split("btree ")[1] for (definition,) in menu.sql(unique)] == ["(id)"]


def test_an_index_on_an_expression_is_left_alone(menu: Any) -> None:
    menu.sql("create index lower_name on marts.menu (lower(name))")
    menu.sql("create unique index constrained on marts.menu (id) where price > 0")
    menu.build("--full-refresh")
    there = menu.sql("select indexname from pg_indexes where indexname in ('lower_name', 'constrained')")
    assert len(there) == 2


def test_names_that_sql_has_itself_are_names_of_columns(project: Any) -> None:
    project.sql('create table public.line ("order" int, "Net" numeric, "select" text)')
    project.sql("""insert into public.line values (1, 5, 'a'), (1, 6, 'b'), (2, 7, 'a')""")
    project.source("till", "line")
    config = "{{ config(materialized='changed_facets', unique_key=['order', 'select'], facet=['order']) }}"
    project.model(
        "line", config + """ select "order", "select", "Net", 1 as operation from {{ source('till', 'line') }}"""
    )
    project.watch()
    assert project.build()["line"] == "3 inserted, 0 deleted, 0 unchanged; first build"
    project.sql("""update public.line set "Net" = 8 where "select" = 'b'""")
    assert project.build()["line"] == "1 inserted, 1 deleted, 1 unchanged; 1 facet; new in till.line"
    assert project.sql('select "Net" from marts.line order by "order", "select"') == [(5,), (8,), (7,)]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            "unique_key='dish'",
            "its unique_key (dish) names dish, which its SELECT does not give. It gives id, name, price.",
        ),
        ("unique_key='id', facet=['id', 'sort']", "its facet (id, sort) names sort, which its SELECT does not give"),
        ("unique_key='id', facet=['id', 'price']", "1 row(s) with a null in the facet (id, price), such as (2)"),
    ],
)
def test_a_key_or_facet_that_rows_have_not_is_told_before_anything_is_built(menu: Any, config: str, said: str) -> None:
    menu.model("card", f"{{{{ config(materialized='changed_facets', {config}) }}}} select id, name, price"
                       " from {{ source('till', 'menu') }}")  # fmt: skip
    assert said in menu.failure("--select", "card")
    assert menu.sql("select to_regclass('marts.card')") == [(None,)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("(null, 'ghost', 1)", "1 row(s) with a null key (id)"),
        ("(1, 'soup again', 1)", "1 row(s) with a repeated key (id)"),
    ],
)
def test_a_key_that_identifies_no_row_is_refused(menu: Any, row: str, problem: str) -> None:
    before = rows(menu)
    menu.sql(f"insert into public.menu values {row}")
    said = menu.failure()
    assert problem in said and "Nothing was changed" in said
    assert rows(menu) == before


def test_a_model_without_a_grain_says_what_to_add(menu: Any) -> None:
    menu.model("menu", "{{ config(materialized='changed_facets') }} select 1 as id")
    assert "menu has no grain. Add config(unique_key=" in menu.failure()


def test_contract_gives_types_and_refuses_what_breaks_it(menu: Any) -> None:
    columns = [
        {"name": "id", "data_type": "integer", "constraints": [{"type": "not_null"}]},
        {"name": "name", "data_type": "text", "constraints": [{"type": "check", "expression": "name <> 'poison'"}]},
        {"name": "price", "data_type": "numeric(9,2)", "constraints": [{"type": "not_null"}]},
    ]
    contract = {"config": {"contract": {"enforced": True}}, "columns": columns}
    menu.model("menu", MENU, **contract)
    before = rows(menu)
    assert 'null value in column "price"' in menu.failure()
    menu.sql("update public.menu set price = 1.005, name = 'poison' where id = 2")
    assert "violates check constraint" in menu.failure()
    assert rows(menu) == before
    menu.sql("update public.menu set name = 'stew' where id = 2")
    menu.build()
    assert menu.sql("select price::text from marts.menu where id = 2") == [("1.01",)]
    menu.model("menu", MENU.replace("price from", "price::text as price from"), **contract)
    assert "contract" in menu.failure()


def test_a_table_has_the_not_nulls_and_checks_of_todays_contract(menu: Any) -> None:
    strict = [
        {"name": "id", "data_type": "integer", "constraints": [{"type": "not_null"}]},
        {"name": "name", "data_type": "text", "constraints": [{"type": "check", "expression": "name <> 'poison'"}]},
        {"name": "price", "data_type": "numeric", "constraints": [{"type": "not_null"}]},
    ]
    loose = [{"name": column["name"], "data_type": column["data_type"]} for column in strict]
    menu.sql("update public.menu set price = 3 where id = 2")
    menu.model("menu", MENU, config={"contract": {"enforced": True}}, columns=strict)
    menu.build()
    for refused in ("update marts.menu set price = null", "update marts.menu set name = 'poison'"):
        with pytest.raises(psycopg2.errors.IntegrityError):
            menu.sql(refused)  # those that came with the contract hold for rows that nobody builds, too
    menu.sql("alter table marts.menu add constraint ours check (price < 1000)")
    menu.sql("update public.menu set price = null, name = 'poison' where id = 2")
    menu.model("menu", MENU, config={"contract": {"enforced": True}}, columns=loose)
    assert menu.build()["menu"] == "1 inserted, 1 deleted, 2 unchanged; the model changed"
    assert menu.sql("select name, price from marts.menu where id = 2") == [("poison", None)]
    with pytest.raises(psycopg2.errors.CheckViolation):
        menu.sql("update marts.menu set price = 2000")


def test_a_view_of_the_same_name_becomes_a_table(project: Any) -> None:
    project.sql("create view marts.one as select 1 as id")
    project.model("one", "{{ config(materialized='changed_facets', unique_key='id') }} select 2 as id")
    project.build()
    assert project.sql("select id from marts.one") == [(2,)]


def test_scope_limits_what_is_compared_and_deleted(menu: Any) -> None:
    """As for the changed facets: their new rows, and which rows of the table are theirs."""
    (menu.folder / "macros/apply_part.sql").write_text("""
        {% macro apply_part() %}
          {%- set target = adapter.get_relation(target.database, 'marts', 'menu') -%}
          {%- set result = api.Relation.create(identifier='part') -%}
          {%- do run_query("begin") -%}
          {%- do run_query("create temporary table part on commit drop as"
              ~ " select 1 as id, 'broth'::text as name, 4.5::numeric as price") -%}
          {%- set counts = apply_difference(target, result, ['id'], scope='id < 3') -%}
          {%- do run_query("create table public.difference as select * from " ~ difference_relation(target)) -%}
          {%- do run_query("create table public.counts as"
              ~ " select " ~ counts.inserted ~ " as i, " ~ counts.deleted ~ " as d") -%}
          {%- do run_query("commit") -%}
        {% endmacro %}
    """)
    menu.dbt("run-operation", "apply_part")
    assert menu.sql("select id, name from marts.menu order by 1") == [(1, "broth"), (3, "tea")]
    assert menu.sql("select i, d from public.counts") == [(1, 2)]
    assert menu.sql('select "old row" is not null, id, name from public.difference order by 1 desc, 2') == [
        (True, 1, "soup"), (True, 2, "stew"), (False, 1, "broth"),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_after_any_edits_the_table_equals_its_query(menu: Any, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(6):
        for _ in range(chance.randrange(6)):
            dish, price = chance.randrange(8), chance.choice(["null", "0", "1.50", "1.5", "2"])
            menu.sql(f"delete from public.menu where id = {dish}")
            if chance.random() < 0.7:
                menu.sql(f"insert into public.menu values ({dish}, 'dish {chance.randrange(3)}', {price})")
        if chance.random() < 0.2:
            with pytest.raises(psycopg2.Error), menu.connect() as other, other.cursor() as cursor:
                cursor.execute("begin; delete from public.menu; select 1 / 0")
        menu.build(*(("--full-refresh",) if chance.random() < 0.3 else ()))
        assert menu.sql("select * from marts.menu order by 1") == menu.sql("select * from public.menu order by 1")


def test_a_view_of_the_project_makes_way_for_a_dropped_column(menu: Any) -> None:
    menu.model("menu_card", "{{ config(materialized='shard_view') }}\nselect id, name, price from {{ ref('menu') }}")
    menu.build()
    menu.model("menu", MENU.replace("name, price", "name, price::int as price"))
    said = menu.failure("--select", "menu")
    assert "menu_card" in said and "--select menu+" in said
    assert menu.sql("select count(*) from marts.menu_card") == [(3,)]
    menu.build("--select", "menu+")
    assert menu.sql("select pg_typeof(price)::text from marts.menu_card limit 1") == [("integer",)]


def test_a_view_of_somebody_else_is_named_and_nothing_changes(menu: Any) -> None:
    menu.sql("create view public.cheap as select name from marts.menu")
    menu.model("menu", MENU.replace("id, name, price", "id, price").replace(", indexes=[{'columns': ['name']}]", ""))
    assert "view cheap depends on" in menu.failure()
    assert menu.sql("select count(name) from marts.menu") == [(3,)]
