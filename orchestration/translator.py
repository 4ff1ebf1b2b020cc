"""How a dbt node looks in Dagster. The keys are those of keys.py; YAML cannot overrule them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from orchestration.keys import dbt_key

MODEL_OWNERS = ["team:analytics-engineering"]
DATA_OWNERS = ["team:data-platform"]
shards = dg.DynamicPartitionsDefinition(name="shard")
"""Every shard of the catalogue is a partition of every asset. Added as they come: no code is reloaded for a new one."""

_KINDS = {"dim_": "dimension", "fct_": "fact", "sum_": "summary", "keys_": "ids", "stg_": "view", "int_": "view"}


class ModelTranslator(DagsterDbtTranslator):  # type: ignore[misc]
    """Asset specs and check specs of dbt nodes, partitioned by shard."""

    def __init__(self) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True))

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """The node's key: keys.py decides."""
        return dbt_key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """A vendor's models stand with its streams; others with their layer."""
        folders = dbt_resource_props["fqn"][1:-1]
        if folders[:1] in (["staging"], ["intermediate"]):
            return str(folders[1]) if len(folders) > 1 else str(folders[0])
        return "_".join(folders) or "models"

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """What the YAML says, and where the SQL is."""
        text = dbt_resource_props.get("description") or f"dbt {dbt_resource_props['resource_type']}"
        return f"{text}\n\n`{dbt_resource_props['original_file_path']}`"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The owners that `meta.dagster.owners` or the dbt group names, else the modelling team."""
        return super().get_owners(dbt_resource_props) or MODEL_OWNERS

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[str] | None:
        """Every model is built once a shard."""
        return None if dbt_resource_props["resource_type"] == "source" else shards

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The spec, without a model's edge to itself (a key table reads what it adds to)."""
        spec: dg.AssetSpec = super().get_asset_spec(manifest, unique_id, project)
        name = self.get_resource_props(manifest, unique_id)["name"]
        kind = next((kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), None)
        return spec.replace_attributes(
            deps=[dep for dep in spec.deps if dep.asset_key != spec.key],
            kinds={"dbt", "postgres", *([kind] if kind else [])},
        )


def check_name(test: Mapping[str, Any]) -> str:
    """A dbt test's name as a check of its asset."""
    return str(test["name"])


def tested_model(manifest: Mapping[str, Any], test: Mapping[str, Any]) -> str | None:
    """The model that a test's result is shown on: the one it is written for, else the last that it reads."""
    if test.get("attached_node"):
        return str(test["attached_node"])
    models = [node for node in test["depends_on"]["nodes"] if node in manifest["nodes"]]
    return models[-1] if models else None
