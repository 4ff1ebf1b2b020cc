"""A YAML file that a person wrote, and where in it a mistake is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from ingestion.errors import ConfigError

LineOf = Callable[[tuple[int | str, ...]], int]


def read_yaml(path: Path, again: str) -> tuple[dict[str, Any], LineOf]:
    """The file's mapping, and a function from a location in it (keys and places) to its line.

    Raises ConfigError, with `again` as the next command, for what is not there, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", next_command=again) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}", next_command=again) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping", next_command=again)
    return content, lambda location: _line_of(yaml.compose(text, Loader=yaml.CSafeLoader), location)


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
