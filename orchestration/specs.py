"""The asset graph: vendor → blocks → raw → dbt and Python models, each asset partitioned by shard."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ingestion.spec import IntegrationSpec, Stream
from orchestration.keys import block_key, dbt_key, python_key, raw_key, vendor_key
from orchestration.python_model import PYTHON_SOURCE, PythonModel
from orchestration.translator import (
    DATA_OWNERS,
    MODEL_OWNERS,
    ModelTranslator,
    check_name,
    shards,
    tested_model,
)

EVERY_SOURCE_ANSWERED = "every_source_answered"
NOTHING_QUARANTINED = "nothing_quarantined"
EQUALS_RECEIPTS = "equals_receipts"


@dataclass(frozen=True)
class Graph:
    """All specs, and the way back from a key to what it stands for."""

    external: Sequence[dg.AssetSpec]
    assets: Sequence[dg.AssetSpec]
    checks: Sequence[dg.AssetCheckSpec]
    streams: Mapping[dg.AssetKey, tuple[str, str, str]]  # key → (step, integration, stream)
    models: Mapping[dg.AssetKey, str]  # key → dbt unique id, or python.larder.<name>
    tests: Mapping[str, dg.AssetCheckKey]  # dbt unique id → check

    @property
    def key_of(self) -> Mapping[str, dg.AssetKey]:
        """Unique id of a dbt or Python model → its asset."""
        return {unique_id: key for key, unique_id in self.models.items()}


def build_graph(
    integrations: Mapping[str, IntegrationSpec],
    manifest: Mapping[str, Any],
    python: Mapping[str, PythonModel],
) -> Graph:
    """The graph of the given integrations (the configured ones) over a dbt manifest."""
    translator = ModelTranslator()
    nodes = dict(_shown(manifest, set(integrations)))
    specs = {uid: translator.get_asset_spec(manifest, uid, None) for uid in nodes}
    models = {spec.key: uid for uid, spec in specs.items()}
    declared = {
        s["name"]: s for s in manifest["sources"].values() if s["source_name"] == PYTHON_SOURCE and s["name"] in python
    }
    by_name = {props["name"]: specs[uid].key for uid, props in nodes.items()}
    python_specs = [_python_spec(python[name], source, by_name) for name, source in declared.items()]
    streams = [(spec, stream) for spec in integrations.values() for stream in spec.streams]
    hidden = {dbt_key(props) for uid, props in manifest["nodes"].items() if uid not in nodes}
    return Graph(
        external=[_vendor_spec(spec) for spec in integrations.values()],
        assets=[
            *(_block_spec(*pair) for pair in streams),
            *(_raw_spec(*pair) for pair in streams),
            *(_without(spec, hidden) for spec in specs.values()),
            *python_specs,
        ],
        checks=[
            *(_check(EVERY_SOURCE_ANSWERED, block_key(s.name, t.name), "No source failed.") for s, t in streams),
            *(_check(NOTHING_QUARANTINED, raw_key(s.name, t.name), "No record was set aside.") for s, t in streams),
            *(_test_check(test, specs[model].key) for model, test in _tests(manifest, specs)),
        ],
        streams={
            **{block_key(s.name, t.name): ("extract", s.name, t.name) for s, t in streams},
            **{raw_key(s.name, t.name): ("load", s.name, t.name) for s, t in streams},
        },
        models={**models, **{python_key(name): python[name].unique_id for name in declared}},
        tests={
            test["unique_id"]: dg.AssetCheckKey(specs[model].key, check_name(test))
            for model, test in _tests(manifest, specs)
        },
    )


def _without(spec: dg.AssetSpec, hidden: set[dg.AssetKey]) -> dg.AssetSpec:
    return spec.replace_attributes(deps=[dep for dep in spec.deps if dep.asset_key not in hidden])


def _shown(manifest: Mapping[str, Any], configured: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Models, seeds and snapshots, without those of vendors that nobody here is connected to."""
    vendors = {s["source_name"].removeprefix("raw_") for s in manifest["sources"].values()
               if s["source_name"].startswith("raw_")}  # fmt: skip
    for unique_id, props in manifest["nodes"].items():
        folder = props["fqn"][2] if len(props["fqn"]) > 3 else ""
        asset = (
            props["resource_type"] in ("model", "seed", "snapshot") and props["config"]["materialized"] != "ephemeral"
        )
        if asset and not (folder in vendors and folder not in configured):
            yield unique_id, props


def _tests(manifest: Mapping[str, Any], specs: Mapping[str, dg.AssetSpec]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for test in manifest["nodes"].values():
        if test["resource_type"] == "test":
            model = tested_model(manifest, test)
            if model is not None and model in specs:
                yield model, test


def _vendor_spec(spec: IntegrationSpec) -> dg.AssetSpec:
    return dg.AssetSpec(
        vendor_key(spec.name),
        description=f"{spec.title}'s API. Documentation: {spec.docs}",
        group_name=spec.name,
        kinds={"api", spec.kind},
        owners=DATA_OWNERS,
    )


def _block_spec(spec: IntegrationSpec, stream: Stream) -> dg.AssetSpec:
    return dg.AssetSpec(
        block_key(spec.name, stream.name),
        deps=[vendor_key(spec.name)],
        description=f"{stream.about}\n\nAs {spec.title} sent it: immutable compressed blocks, each with a manifest.",
        group_name=spec.name,
        kinds={"api", "zstandard"},
        owners=DATA_OWNERS,
        partitions_def=shards,
        skippable=True,
        code_version=spec.version,
        metadata={"integration": spec.title, "cadence_minutes": stream.cadence.total_seconds() / 60},
    )


_RAW_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("version_id", "bigint", "Id of this version; the business is in its bits."),
        dg.TableColumn("source_id", "bigint", "The business's connection it came from."),
        dg.TableColumn("natural_key", "text", "The vendor's own key."),
        dg.TableColumn("operation", "char(1)", "U: a version of the record. D: found gone at the vendor."),
        dg.TableColumn("modified_at", "timestamptz", "When the vendor says it changed."),
        dg.TableColumn("observed_at", "timestamptz", "When we read it."),
        dg.TableColumn("block_id", "uuid", "The block it was in."),
        dg.TableColumn("payload", "jsonb", "The record as the vendor sent it."),
    ]
)


def _raw_spec(spec: IntegrationSpec, stream: Stream) -> dg.AssetSpec:
    key = " + ".join(stream.natural_key)
    return dg.AssetSpec(
        raw_key(spec.name, stream.name),
        deps=[block_key(spec.name, stream.name)],
        description=f"{stream.about}\n\nEvery version of every record, payload untouched. Natural key: {key}.",
        group_name=spec.name,
        kinds={"dlt", "postgres"},
        owners=DATA_OWNERS,
        partitions_def=shards,
        skippable=True,
        metadata={"dagster/column_schema": _RAW_COLUMNS, "feeds": ", ".join(stream.feeds) or "nothing yet"},
    )


def _python_spec(model: PythonModel, source: Mapping[str, Any], models: Mapping[str, dg.AssetKey]) -> dg.AssetSpec:
    missing = [ref for ref in model.refs if ref not in models]
    if missing:
        raise LookupError(f"the Python model {model.name} refers to {missing[0]}, which is no dbt model")
    columns = [
        dg.TableColumn(c["name"], c["data_type"] or "?", c["description"] or None) for c in source["columns"].values()
    ]
    return dg.AssetSpec(
        python_key(model.name),
        deps=[models[ref] for ref in model.refs],
        description=f"{model.description}\n\n`orchestration/models/{model.name}.py`",
        group_name="python",
        kinds={"python", "postgres"},
        owners=MODEL_OWNERS,
        partitions_def=shards,
        skippable=True,
        metadata={"dagster/column_schema": dg.TableSchema(columns=columns)},
    )


def _check(
    name: str, asset: dg.AssetKey, description: str, metadata: Mapping[str, Any] | None = None
) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.PreviewWarning)  # a check's partitions; pinned below Dagster 1.14
        return dg.AssetCheckSpec(name, asset=asset, description=description, metadata=metadata, partitions_def=shards)


def _test_check(test: Mapping[str, Any], asset: dg.AssetKey) -> dg.AssetCheckSpec:
    text = test.get("description") or f"dbt test in {test['original_file_path']}"
    return _check(check_name(test), asset, text)


def receipts_check(graph: Graph) -> dg.AssetCheckSpec | None:
    """The reconciliation's check, on the summary that people read most; None while there is no such model."""
    found = [key for key in graph.models if key.path[-1] == "sum_sales_day"]
    text = "Blocks, raw, facts and summaries agree to the cent, by source and business date."
    return _check(EQUALS_RECEIPTS, found[0], text) if found else None
