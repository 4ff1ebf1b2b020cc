"""Finds the integrations: every folder with an `integration.yml`, no list to keep.

Besides the built-in folder, those of `LARDER_INTEGRATIONS_PATH` (separated like PATH) are scanned.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ingestion.data.spec import DATA, DataSpec
from ingestion.errors import ConfigError
from ingestion.spec import IntegrationSpec
from ingestion.yaml_file import read_yaml

BUILT_IN = Path(__file__).parent / "integrations"
FILE = "integration.yml"


def integration_paths() -> tuple[Path, ...]:
    """The folders that are scanned, built-in first."""
    extra = os.environ.get("LARDER_INTEGRATIONS_PATH", "")
    return (BUILT_IN, *(Path(part) for part in extra.split(os.pathsep) if part))


def load_spec(path: Path) -> IntegrationSpec:
    """Read one `integration.yml`; raises ConfigError that names the file, the line and the field."""
    again = "larder integration list"
    content, line_of = read_yaml(path, again)
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    try:
        spec = IntegrationSpec.model_validate({**content, "version": version})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{path}:{line_of(first['loc'])}: {where}: {first['msg']}", next_command=again) from error
    if spec.name != path.parent.name:
        raise ConfigError(f"{path}:1: name {spec.name!r} must be the folder's name", next_command=again)
    return spec


def discover(paths: tuple[Path, ...] | None = None) -> Mapping[str, IntegrationSpec]:
    """Every integration by name, sorted; a name in two folders is a ConfigError.

    Besides those of folders, where none are given: `data`, files and databases (`ingestion/data/`).
    """
    if paths is not None:
        return _discover(paths)
    return {**_discover(integration_paths()), DATA.name: DATA}


@cache
def _discover(paths: tuple[Path, ...]) -> Mapping[str, IntegrationSpec]:
    found: dict[str, IntegrationSpec] = {}
    for file in sorted(_files(paths), key=lambda file: file.parent.name):
        spec = load_spec(file)
        if spec.name in found:
            raise ConfigError(
                f"integration {spec.name} is defined twice, the second time in {file}",
                next_command="larder integration list",
            )
        found[spec.name] = spec
    return found


def get(name: str) -> IntegrationSpec:
    """The integration of that name; ConfigError if there is none."""
    specs = discover()
    if name not in specs:
        raise ConfigError(
            f"there is no integration {name!r}; known: {', '.join(specs)}", next_command="larder integration list"
        )
    return specs[name]


def spec_of(integration: str, config: Mapping[str, Any], again: str) -> IntegrationSpec:
    """The integration of a source: for files and databases, with the streams that its mapping makes.

    ConfigError if there is no such integration or the mapping is wrong.
    """
    spec = get(integration)
    return spec.of(config, again) if isinstance(spec, DataSpec) else spec


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for folder in paths:
        yield from folder.glob(f"*/{FILE}")
