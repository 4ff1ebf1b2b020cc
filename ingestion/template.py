"""Fills the templates of a spec's requests."""

import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{(config\.[a-z0-9_]+|site|sites|parent|from|to)\}")


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with every `{name}` replaced; a text that is nothing but one place takes the value as it is (a list
    stays a list). Other braces are left alone, so JSON can stand in a text. KeyError for a name without value."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole:
            return values[whole[1]]
        return _PLACE.sub(lambda found: str(values[found[1]]), template)
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, values) for value in template]
    return template
