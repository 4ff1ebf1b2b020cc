"""shard_view: there where its vendor is, and replaced without dropping what hangs from it. The union over vendors."""

from __future__ import annotations

from typing import Any

import pytest

from sharding.ids import make_id

VIEW = "{{ config(materialized='shard_view') }} "
STAGED = (
    VIEW + "select source_id, natural_key, payload ->> 'name' as name from {{ source('raw_%s', 'orders_current') }}"
)
UNION = {
    "columns": [
        {"name": "source_id", "data_type": "bigint"},
        {"name": "natural_key", "data_type": "text"},
        {"name": "name", "data_type": "varchar(9)"},
    ]
}


@pytest.fixture
def vendors(project: Any) -> Any:
    """Two integrations that feed `order`; only *alpha* has a source on the shard."""
    for vendor in ("alpha", "beta"):
        (project.folder / "models" / f"{vendor}.yml").write_text(
            f"sources: [{{name: raw_{vendor}, schema: raw_{vendor}, tables: [{{name: orders_current}}]}}]"
        )
        project.model(f"stg_{vendor}__orders", STAGED % vendor, f"staging/{vendor}")
        project.model(
            f"int_{vendor}__orders",
            VIEW + f"select * from {{{{ ref('stg_{vendor}__orders') }}}}",
            f"intermediate/{vendor}",
        )
    (project.folder / "macros/feeding.sql").write_text(
        "{% macro integrations_feeding(entity) %}{{ return(['alpha', 'beta']) }}{% endmacro %}"
    )
    project.model("int_orders__unioned", VIEW + "{{ union_integrations('order') }}", "intermediate/orders", **UNION)
    project.sql("insert into {keys}.route (business, name, display_name) values (7, 'b', 'B')")
    connect(project, "alpha", 1)
    return project


def connect(project: Any, vendor: str, number: int) -> None:
    project.sql(
        "insert into {keys}.source (id, integration, name) values (%s, %s, %s)", make_id(7, number), vendor, vendor
    )


def views(project: Any) -> set[str]:
    return {name for (name,) in project.sql("select viewname from pg_views where schemaname = 'marts'")}


def test_only_connected_vendors_have_views(vendors: Any) -> None:
    messages = vendors.build()
    assert messages["stg_beta__orders"] == "SKIP: no source of beta on this shard"
    assert views(vendors) == {"stg_alpha__orders", "int_alpha__orders", "int_orders__unioned"}
    connect(vendors, "beta", 2)
    vendors.build()
    assert views(vendors) >= {"stg_beta__orders", "int_beta__orders"}
    assert "raw_beta" in vendors.sql("select pg_get_viewdef('marts.stg_beta__orders')")[0][0]
    assert "int_beta__orders" in vendors.sql("select pg_get_viewdef('marts.int_orders__unioned')")[0][0]


def test_a_union_of_nothing_is_empty_and_typed(vendors: Any) -> None:
    vendors.sql("delete from {keys}.source")
    vendors.build()
    assert vendors.sql("select * from marts.int_orders__unioned") == []
    columns = vendors.sql(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'marts.int_orders__unioned'::regclass order by attnum"
    )
    assert columns == [("source_id", "bigint"), ("natural_key", "text"), ("name", "character varying(9)")]


def test_grants_and_dependants_survive_a_partial_build(vendors: Any) -> None:
    vendors.build()
    vendors.sql("create role view_reader role current_user; grant select on marts.stg_alpha__orders to view_reader")
    try:
        vendors.sql("create view public.kept as select * from marts.stg_alpha__orders")
        vendors.model("stg_alpha__orders", (STAGED % "alpha").replace("as name", "as name, 1 as more"), "staging/alpha")
        vendors.build("--select", "stg_alpha__orders")
        assert vendors.sql("select * from public.kept") == []
        assert "int_alpha__orders" in views(vendors)
        found = vendors.sql("select has_table_privilege('view_reader', 'marts.stg_alpha__orders', 'select')")
        assert found == [(True,)]
    finally:
        vendors.sql("drop owned by view_reader; drop role view_reader")


def test_a_changed_column_makes_the_views_anew(vendors: Any) -> None:
    vendors.build()
    vendors.model(
        "stg_alpha__orders", (STAGED % "alpha").replace("natural_key,", "natural_key, 1 as more,"), "staging/alpha"
    )
    vendors.build()
    assert views(vendors) == {"stg_alpha__orders", "int_alpha__orders", "int_orders__unioned"}


def test_a_view_over_raw_has_a_twin_over_slices(vendors: Any) -> None:
    def twins() -> dict[str, str]:
        return dict(vendors.sql("select viewname, definition from pg_views where schemaname = 'slices'"))

    vendors.build()
    assert set(twins()) == {"stg_alpha__orders", "int_alpha__orders"}, "no other view reads raw"
    assert "raw_alpha.orders_slice" in twins()["stg_alpha__orders"]
    assert "slices.stg_alpha__orders" in twins()["int_alpha__orders"]
    vendors.model(
        "stg_alpha__orders", (STAGED % "alpha").replace("natural_key,", "natural_key, 1 as more,"), "staging/alpha"
    )
    vendors.build()
    assert set(twins()) == {"stg_alpha__orders", "int_alpha__orders"} and "more" in twins()["int_alpha__orders"]


def test_a_development_schema_has_no_twins(vendors: Any) -> None:
    vendors.build(target="dev")
    assert vendors.sql("select viewname from pg_views where schemaname = 'slices'") == []
    assert vendors.sql("select * from dev_ada.int_orders__unioned") == []
