"""Vendors' records by slices: a build reads the records that changed and those that belong with them, and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sharding.ids import make_id

SOURCE = make_id(7, 1)
VIEW = "{{ config(materialized='shard_view') }} "
FEED = {"name": "raw", "table": "feed", "beside": "raw_ledger.feed"}
UNIFIED = """
{{ config(materialized='changed_facets', unique_key=['source_id', 'natural_key'], facet=['source_id', 'root_key'],
    facet_from=record_facets()) }}
{{ union_integrations('%s') }}
"""


def typed(**columns: str) -> list[dict[str, str]]:
    return [{"name": name, "data_type": kind} for name, kind in columns.items()]


def declare(project: Any, vendor: str) -> None:
    """The sources of a vendor, whose changes are in the feed of raw."""
    tables = []
    for stream in ("orders", "payments"):
        filter_ = f"integration = '{vendor}' and stream = '{stream}'"
        tables.append({"name": f"{stream}_current", "config": {"meta": {"feed": {**FEED, "filter": filter_}}}})
    declared = {"sources": [{"name": f"raw_{vendor}", "schema": f"raw_{vendor}", "tables": tables}]}
    (project.folder / f"models/{vendor}.yml").write_text(json.dumps(declared))


def feeding(project: Any, *vendors: str) -> None:
    """Whose records are unified."""
    (project.folder / "macros/feeding.sql").write_text(
        f"{{% macro integrations_feeding(entity) %}}{{{{ return({list(vendors)}) }}}}{{% endmacro %}}"
    )


@pytest.fixture
def till(project: Any) -> Any:
    """A vendor with orders, and payments that name their order; both unified, with what an order was paid."""
    declare(project, "alpha")
    feeding(project, "alpha")
    for stream, column in (("orders", "total"), ("payments", "order")):
        project.model(
            f"stg_alpha__{stream}",
            VIEW + f"select source_id, natural_key, payload ->> '{column}' as {column}_of"
            f" from {{{{ source('raw_alpha', '{stream}_current') }}}}",
            "staging/alpha",
        )
    project.model(
        "int_alpha__orders",
        # grouped, so that no restriction from outside would get through
        VIEW
        + """select o.source_id, o.natural_key, o.total_of as total, count(p.natural_key) as payments
            from {{ ref('stg_alpha__orders') }} as o
            left join {{ ref('stg_alpha__payments') }} as p
                on p.source_id = o.source_id and p.order_of = o.natural_key
            group by 1, 2, 3""",
        "intermediate/alpha",
    )
    project.model(
        "int_alpha__payments",
        VIEW + "select source_id, natural_key, order_of as sale_key from {{ ref('stg_alpha__payments') }}",
        "intermediate/alpha",
    )
    project.model(
        "int_orders__unioned", UNIFIED % "order", "intermediate/sales",
        columns=typed(source_id="bigint", natural_key="text", root_key="text", total="text", payments="bigint"),
    )  # fmt: skip
    project.model(
        "int_payments__unioned", UNIFIED % "payment", "intermediate/sales",
        columns=typed(source_id="bigint", natural_key="text", root_key="text", sale_key="text"),
    )  # fmt: skip
    project.sql("insert into {keys}.route (business, name, display_name) values (7, 'b', 'B')")
    project.sql("insert into {keys}.source (id, integration, name) values (%s, 'alpha', 'till')", SOURCE)
    project.sql("select {raw}.ensure_stream('alpha', 'orders', '{}'), {raw}.ensure_stream('alpha', 'payments', %s)",
                ["$.order"])  # fmt: skip
    for order in "ABC":
        record(project, "orders", order, total="10")
    record(project, "payments", "p", order="A")
    record(project, "payments", "q", order="C")
    project.build()
    return project


def record(project: Any, stream: str, key: str, vendor: str = "alpha", **payload: str) -> None:
    """Publish a version of a record, as a load does."""
    first = 1000 * ["alphaorders", "alphapayments", "betaorders", "betapayments"].index(vendor + stream)
    project.sql(
        f"""
        with version as (
            insert into raw_{vendor}.{stream}
                (version_id, source_id, natural_key, operation, modified_at, observed_at, generation, ordinal, hash,
                payload)
            select count(*) + {first}, %s, %s, 'U', now(), now(), 1, 1,
                gen_random_uuid(), %s
            from raw_{vendor}.{stream}
            returning *
        ),
        head as (
            insert into {{raw}}.head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at,
                block_id, ordinal, generation, last_seen_at)
            select source_id, '{stream}', natural_key, version_id, hash, modified_at, observed_at, gen_random_uuid(),
                1, 1, now()
            from version
            on conflict (source_id, stream, natural_key) do update set version_id = excluded.version_id
        )
        insert into {{raw}}.feed (integration, stream, source_id, natural_key, operation, version_id)
        select '{vendor}', '{stream}', source_id, natural_key, 'U', version_id from version
        """,
        SOURCE if vendor == "alpha" else make_id(7, 2), key, json.dumps(payload),
    )  # fmt: skip
    project.sql("select {raw}.link_all_versions('alpha', 'payments', %s)", ["$.order"])


def orders(project: Any) -> dict[str, tuple[str, int]]:
    found = project.sql("select natural_key, total, payments from marts.int_orders__unioned")
    return {key: (total, payments) for key, total, payments in found}


def test_twins_read_the_slice_of_each_stream(till: Any) -> None:
    assert orders(till) == {"A": ("10", 1), "B": ("10", 0), "C": ("10", 1)}
    twins = {name for (name,) in till.sql("select viewname from pg_views where schemaname = 'slices'")}
    assert twins == {"stg_alpha__orders", "stg_alpha__payments", "int_alpha__orders", "int_alpha__payments"}
    assert "raw_alpha.orders_slice" in till.sql("select pg_get_viewdef('slices.stg_alpha__orders')")[0][0]
    assert "slices.stg_alpha__orders" in till.sql("select pg_get_viewdef('slices.int_alpha__orders')")[0][0]
    assert till.sql("select * from slices.int_alpha__orders") == [], "a slice is empty but for the build that fills it"
    with till.connect() as builder, builder.cursor() as cursor:
        cursor.execute("begin; insert into raw.slice values (%s, 'B'), (%s, 'p')", (SOURCE, SOURCE))
        cursor.execute("select natural_key from slices.int_alpha__orders")
        seen = cursor.fetchall()
        cursor.execute("select sale_key from slices.int_alpha__payments")
        assert (seen, cursor.fetchall()) == ([("B",)], [("A",)])
        assert till.sql("select count(*) from slices.int_alpha__orders") == [(0,)]
        cursor.execute("rollback")


def test_a_change_reads_its_record_and_what_belongs_to_it(till: Any) -> None:
    record(till, "orders", "A", total="12")
    said = till.build()
    assert said["int_orders__unioned"] == "1 inserted, 1 deleted, 0 unchanged; 2 facets; new in raw", "and its payment"
    assert orders(till)["A"] == ("12", 1)
    assert said["int_payments__unioned"].endswith("nothing new")
    record(till, "orders", "B", total="11")
    assert till.build()["int_orders__unioned"] == "1 inserted, 1 deleted, 0 unchanged; 1 facet; new in raw"
    assert till.sql("select count(*) from raw.slice") == [(0,)]


def test_a_payment_put_on_another_order_touches_both(till: Any) -> None:
    record(till, "payments", "p", order="B")
    said = till.build()
    assert said["int_orders__unioned"] == "2 inserted, 2 deleted, 0 unchanged; 3 facets; new in raw"
    assert said["int_payments__unioned"] == "1 inserted, 1 deleted, 0 unchanged; 3 facets; new in raw"
    assert orders(till) == {"A": ("10", 0), "B": ("10", 1), "C": ("10", 1)}
    assert till.sql("select natural_key, root_key from marts.int_payments__unioned order by 1") == [
        ("p", "B"), ("q", "C")
    ]  # fmt: skip


def test_links_close_over_any_number_of_steps(till: Any) -> None:
    """One payment that was on A, then on B, holds the two together, and C joins by another."""
    record(till, "payments", "p", order="B")
    record(till, "payments", "q", order="B")
    till.build()
    record(till, "orders", "A", total="13")
    assert till.build()["int_orders__unioned"] == "1 inserted, 1 deleted, 2 unchanged; 5 facets; new in raw"
    assert orders(till) == {"A": ("13", 0), "B": ("10", 2), "C": ("10", 0)}


def test_links_are_made_for_what_was_loaded_before_they_were_declared(till: Any) -> None:
    before = till.sql("select key, linked_key from raw.link order by 1, 2")
    assert before == [("A", "p"), ("C", "q"), ("p", "A"), ("q", "C")]
    till.sql("truncate raw.link")
    till.sql("update raw.stream set links = '{}'")
    till.sql("select raw.ensure_stream('alpha', 'payments')")
    assert till.sql("select count(*) from raw.link") == [(0,)], "not said is left as it is"
    till.sql("select raw.ensure_stream('alpha', 'payments', %s)", ["$.order"])
    assert till.sql("select key, linked_key from raw.link order by 1, 2") == before


def beta(till: Any, *, feeds: bool) -> None:
    """A second vendor in the project; `feeds`: whether its records are unified."""
    declare(till, "beta")
    feeding(till, *(["alpha", "beta"] if feeds else ["alpha"]))
    read = VIEW + "select source_id, natural_key, payload ->> '%s' as %s from {{ source('raw_beta', '%s_current') }}"
    till.model("int_beta__orders", read % ("total", "total, 0 as payments", "orders"), "intermediate/beta")
    till.model("int_beta__payments", read % ("order", "sale_key", "payments"), "intermediate/beta")


def connect_beta(till: Any) -> None:
    till.sql("insert into {keys}.source (id, integration, name) values (%s, 'beta', 'b')", make_id(7, 2))
    till.sql("select {raw}.ensure_stream('beta', 'orders'), {raw}.ensure_stream('beta', 'payments')")


def test_a_vendor_that_comes_to_a_shard_is_no_change_of_the_others(till: Any) -> None:
    beta(till, feeds=True)
    assert till.build()["int_orders__unioned"].endswith("nothing new"), "no source of that vendor here"
    connect_beta(till)
    assert till.build()["int_orders__unioned"].endswith("nothing new")
    record(till, "orders", "X", vendor="beta", total="5")
    assert till.build()["int_orders__unioned"] == "1 inserted, 0 deleted, 0 unchanged; 1 facet; new in raw"
    assert orders(till)["X"] == ("5", 0)
    filters = till.sql("select reads -> 'raw' ->> 'filter' from meta.mark where model = 'int_orders__unioned'")
    assert "beta" in filters[0][0], "the probe has to look for that vendor's records too"


def test_a_vendor_whose_records_become_part_of_a_model_brings_its_history(till: Any) -> None:
    """Its records were loaded, and nobody read them: no feed will tell of them again."""
    beta(till, feeds=False)
    connect_beta(till)
    record(till, "orders", "X", vendor="beta", total="5")
    till.build()
    beta(till, feeds=True)
    assert till.build()["int_orders__unioned"].endswith("the model changed")
    assert orders(till)["X"] == ("5", 0)


def test_a_vendor_that_came_is_watched_for_changes_of_its_views(till: Any) -> None:
    beta(till, feeds=True)
    till.build()
    connect_beta(till)
    record(till, "orders", "X", vendor="beta", total="5")
    till.build()
    with (till.folder / "models/intermediate/beta/int_beta__orders.sql").open("a") as view:
        view.write(" where natural_key <> 'X'")
    assert till.build()["int_orders__unioned"] == "0 inserted, 1 deleted, 3 unchanged; the model changed"


def test_the_mark_remembers_a_vendor_before_its_first_record(till: Any) -> None:
    beta(till, feeds=True)
    till.build()
    connect_beta(till)
    till.build()
    filters = till.sql("select reads -> 'raw' ->> 'filter' from meta.mark where model = 'int_orders__unioned'")
    assert "beta" in filters[0][0]
