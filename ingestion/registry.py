"""Finds the integrations: every folder with an `integration.yml`, no list to keep.

Besides the built-in folder, those of `LARDER_INTEGRATIONS_PATH` (separated like PATH) are scanned.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from ingestion.errors import ConfigError
from ingestion.spec import IntegrationSpec

BUILT_IN = Path(__file__).parent / "integrations"
FILE = "integration.yml"


def integration_paths() -> tuple[Path, ...]:
    """The folders that are scanned, built-in first."""
    extra = os.environ.get("LARDER_INTEGRATIONS_PATH", "")
    return (BUILT_IN, *(Path(part) for part in extra.split(os.pathsep) if part))


def load_spec(path: Path) -> IntegrationSpec:
    """Read one `integration.yml`; raises ConfigError that names the file, the line and the field."""
    text = path.read_text(encoding="utf-8")
    again = "larder integration list"
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        content = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}", next_command=again) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping", next_command=again)
    try:
        spec = IntegrationSpec.model_validate({**content, "version": hashlib.sha256(text.encode()).hexdigest()[:16]})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        line = _line_of(node, first["loc"])
        raise ConfigError(f"{path}:{line}: {where}: {first['msg']}", next_command=again) from error
    if spec.name != path.parent.name:
        raise ConfigError(f"{path}:1: name {spec.name!r} must be the folder's name", next_command=again)
    return spec


def discover(paths: tuple[Path, ...] | None = None) -> Mapping[str, IntegrationSpec]:
    """Every integration by name, sorted; a name in two folders is a ConfigError."""
    return _discover(integration_paths() if paths is None else paths)


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


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for folder in paths:
        yield from folder.glob(f"*/{FILE}")


def _line_of(node: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `location` that is in the file."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                continue  # the name of a union's member, or a field that is missing
            key, node = pairs[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
