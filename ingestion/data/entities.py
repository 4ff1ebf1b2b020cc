"""The unified entities as a mapping may fill them: columns, types, what must be there, what is taken for granted."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from ingestion.spec import Entity

Type = Literal["text", "integer", "number", "boolean", "date", "timestamp", "currency", "interval"]


class DataModel(BaseModel):
    """Base of what a mapping may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EntityColumn(DataModel):
    """A column of a unified entity."""

    type: Type
    required: bool = False
    default: str | None = None
    values: tuple[str, ...] = ()


@cache
def _load() -> dict[Entity, dict[str, EntityColumn]]:
    content = yaml.load(Path(__file__).with_name("entities.yml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return TypeAdapter(dict[Entity, dict[str, EntityColumn]]).validate_python(content)


ENTITIES = _load()
