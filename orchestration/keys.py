"""Asset keys, all of them. Whatever names an asset asks here, so that a key has one spelling.

vendors/<integration>                 the vendor's API
blocks_<integration>/<stream>         what was received, immutable
raw_<integration>/<stream>            versions of each record on the shard
python/<model>                        the input table of a Python model
<schema>/<dbt model>                  staging, intermediate, keys, marts, bi
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey

from orchestration.python_model import PYTHON_SOURCE

_RAW, _CURRENT = "raw_", "_current"


def vendor_key(integration: str) -> AssetKey:
    """The vendor itself."""
    return AssetKey(["vendors", integration])


def block_key(integration: str, stream: str) -> AssetKey:
    """A stream's blocks in the block store."""
    return AssetKey([f"blocks_{integration}", stream])


def raw_key(integration: str, stream: str) -> AssetKey:
    """A stream's table in raw."""
    return AssetKey([f"{_RAW}{integration}", stream])


def python_key(model: str) -> AssetKey:
    """A Python model's input table."""
    return AssetKey([PYTHON_SOURCE, model])


def dbt_key(props: Mapping[str, Any]) -> AssetKey:
    """Key of a dbt node by its properties in the manifest. A stream's `<stream>_current` view is the stream."""
    if props["resource_type"] != "source":
        return AssetKey([props["config"].get("schema") or props["schema"], props["name"]])
    source, name = props["source_name"], props["name"]
    if source.startswith(_RAW) and name.endswith(_CURRENT):
        return raw_key(source.removeprefix(_RAW), name.removesuffix(_CURRENT))
    return AssetKey([source, name])
