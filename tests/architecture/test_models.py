"""The law of the layers, and what every mart owes its readers, checked on dbt's own manifest."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from orchestration.dbt_worker import DbtProject

# Each layer reads its own and those above it in this list, never one below.
LAYERS = ("staging", "intermediate", "marts/core", "marts/summaries", "marts/forecasts", "marts/bi")
LONGEST_NAME = 50  # Postgres cuts names at 63 bytes, and dbt appends up to 12 to those of its temporary tables
INEXACT = re.compile(r"float|double|real|money", re.IGNORECASE)
# Numbers with four decimals that are no amounts of money.
NO_MONEY = re.compile(r"quantity|_pct$|_coverage$|_purchases$|hours")


class Model(NamedTuple):
    """What these tests look at of a dbt model."""

    name: str
    layer: str
    folder: str
    node: Any
    parents: tuple[str, ...]

    @property
    def types(self) -> dict[str, str]:
        return {c.name: c.data_type or "" for c in self.node.columns.values()}


@pytest.fixture(scope="module")
def models(warehouse: DbtProject) -> dict[str, Model]:
    """Every model by its unique id."""
    return {
        node.unique_id: Model(
            node.name,
            f"marts/{node.fqn[2]}" if node.fqn[1] == "marts" else node.fqn[1],
            node.fqn[2],
            node,
            tuple(node.depends_on.nodes),
        )
        for node in warehouse.manifest.nodes.values()
        if node.resource_type == "model"
    }


@pytest.fixture(scope="module")
def marts(models: dict[str, Model]) -> list[Model]:
    """The models that people and programs read: the views for BI only repeat them."""
    return [m for m in models.values() if m.layer.startswith("marts/") and m.layer != "marts/bi"]


def test_every_model_is_in_a_layer(models: dict[str, Model]) -> None:
    assert {m.layer for m in models.values()} == set(LAYERS)


def test_only_staging_reads_sources_and_reads_nothing_else(models: dict[str, Model]) -> None:
    reading = {m.name: m.layer for m in models.values() if any(p.startswith("source.") for p in m.parents)}
    assert {name: layer for name, layer in reading.items() if layer != "staging"} == {}
    inward = {m.name: m.parents for m in models.values() if m.layer == "staging" and set(m.parents) & models.keys()}
    assert inward == {}, "staging only renames what a source holds"


def test_layers_only_point_down(models: dict[str, Model]) -> None:
    upward = [
        f"{m.name} ({m.layer}) reads {models[p].name} ({models[p].layer})"
        for m in models.values()
        for p in m.parents
        if p in models and LAYERS.index(models[p].layer) > LAYERS.index(m.layer)
    ]
    assert upward == []


def test_a_vendors_models_read_that_vendor_only_and_unions_are_the_way_out(models: dict[str, Model]) -> None:
    vendors = {m.folder for m in models.values() if m.layer == "staging"} - {"shard", "python"}
    crossing = [
        f"{m.name} reads {models[p].name}"
        for m in models.values()
        for p in m.parents
        if p in models
        and models[p].folder in vendors
        and m.folder != models[p].folder
        and not m.name.endswith("__unioned")
    ]
    assert crossing == []


def test_views_for_bi_are_on_marts(models: dict[str, Model]) -> None:
    for view in (m for m in models.values() if m.layer == "marts/bi"):
        read = {models[p].layer for p in view.parents}
        assert any(layer.startswith("marts/") for layer in read), view.name
        others = {models[p].name for p in view.parents if not models[p].layer.startswith("marts/")}
        assert others <= {"stg_shard__businesses"}, f"{view.name} reads more than who is active here"


def test_names_fit_postgres_and_say_their_layer(models: dict[str, Model]) -> None:
    starts = {
        "staging": ("stg_",), "intermediate": ("int_", "keys_"), "marts/core": ("dim_", "fct_"),
        "marts/summaries": ("sum_",), "marts/forecasts": ("forecast_",), "marts/bi": ("bi_",),
    }  # fmt: skip
    assert [m.name for m in models.values() if len(m.name) > LONGEST_NAME] == []
    assert [m.name for m in models.values() if not m.name.startswith(starts[m.layer])] == []


def test_every_model_says_what_it_is(models: dict[str, Model]) -> None:
    assert [m.name for m in models.values() if not m.node.description.strip()] == []


def test_marts_state_their_grain_and_facts_what_may_be_summed(marts: list[Model]) -> None:
    assert [m.name for m in marts if "**Grain**" not in m.node.description] == []
    measured = [m for m in marts if m.name.startswith(("fct_", "sum_"))]
    assert [m.name for m in measured if "additive" not in m.node.description.lower()] == []


def test_marts_have_enforced_contracts_and_every_column_a_type_and_a_meaning(marts: list[Model]) -> None:
    assert [m.name for m in marts if not m.node.contract.enforced] == []
    columns = [(f"{m.name}.{c.name}", c) for m in marts for c in m.node.columns.values()]
    assert len(columns) > 200
    assert [name for name, c in columns if not c.data_type] == []
    assert [name for name, c in columns if not c.description.strip()] == []


def test_no_contract_promises_an_inexact_number(models: dict[str, Model]) -> None:
    typed = {f"{m.name}.{column}": kind for m in models.values() for column, kind in m.types.items()}
    assert {name: kind for name, kind in typed.items() if INEXACT.search(kind)} == {}


def test_money_has_its_currency_beside_it(marts: list[Model]) -> None:
    def money(m: Model) -> list[str]:
        return [c for c, kind in m.types.items() if kind.replace(" ", "") == "numeric(19,4)" and not NO_MONEY.search(c)]

    assert sum(len(money(m)) for m in marts) > 80
    assert [m.name for m in marts if money(m) and m.types.get("currency") != "text"] == []


def test_facts_name_dimensions_that_exist(warehouse: DbtProject, marts: list[Model]) -> None:
    """Each fact's location is checked against dim_location, and each of its days against the calendar."""
    tested = {
        (node.attached_node, node.column_name)
        for node in warehouse.manifest.nodes.values()
        if getattr(node, "test_metadata", None) and node.test_metadata.name == "relationships"
    }
    facts = [m for m in marts if m.name.startswith("fct_")]
    missing = [
        f"{m.name}.{column}"
        for m in facts
        for column in ("location_id", "business_date")
        if column in m.types and (m.node.unique_id, column) not in tested
    ]
    assert missing == []
