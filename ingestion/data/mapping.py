"""The mapping of a source: which files or tables it reads, and what their columns are. Nothing executable."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ingestion.data.entities import ENTITIES, DataModel, Type
from ingestion.errors import ConfigError
from ingestion.spec import Duration, Entity, Paths, parse_duration
from ingestion.yaml_file import read_yaml

FILE, LINE = "$file", "$line"  # where a row is from, as columns
DEFINITIONS = "tables"  # the stream that tells which tables of its own a source has


def _as_column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class Column(DataModel):
    """Where a value comes from: a column of the row, several of them in a template, or the same for all rows."""

    column: str | None = None
    template: str | None = None  # "{Date} {Time}"
    value: str | int | None = None
    map: dict[str, str] = Field(default_factory=dict)  # what is in the row → what it stands for, else it stays
    default: str | None = None  # where the cell is empty
    type: Type | None = None  # of a table of one's own; default text, in a database what the database says

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(origin is not None for origin in (self.column, self.template, self.value)) != 1:
            raise ValueError("say exactly one of `column`, `template` and `value`")
        return self


Source = Annotated[Column, BeforeValidator(_as_column)]


class Into(DataModel):
    """What the rows become: records of a unified entity, or rows of a table of one's own."""

    entity: Entity | None = None
    table: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,39}$")
    key: tuple[Source, ...] = ()
    columns: dict[str, Source] = Field(default_factory=dict)
    location: Source | None = None  # of a table: the business's location, by its name or this source's key for it
    where: dict[str, Paths] = Field(default_factory=dict)  # only rows whose column has one of these texts

    @property
    def stream(self) -> str:
        """The stream that the records are in."""
        return str(self.entity or self.table)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.entity is None) == (self.table is None):
            raise ValueError("say either `entity` or `table`")
        if self.table in (*get_args(Entity), DEFINITIONS):
            raise ValueError(f"a table of your own cannot be called {self.table!r}")
        if self.entity is not None:
            known = ENTITIES[self.entity]
            unknown = [name for name in self.columns if name not in known]
            if unknown:
                raise ValueError(f"{self.entity} has no column {unknown[0]!r}; it has: {', '.join(known)}")
            missing = [name for name, field in known.items() if field.required and name not in self.columns]
            if missing:
                raise ValueError(f"{self.entity} needs the column {missing[0]!r}")
            if not self.key:
                raise ValueError(f"{self.entity} needs a `key`: the columns that identify a record")
            if self.location is not None:
                raise ValueError("`location` is for tables of your own; an entity has the column location_key")
        return self


class Melt(DataModel):
    """A wide table: the columns not kept become rows, with their header in `name` and their cell in `value`."""

    keep: Paths
    name: str
    value: str


class Rows(DataModel):
    """Some rows: of the files that match a pattern, or of a table of the database."""

    files: str | None = None
    database_table: str | None = None
    into: tuple[Into, ...] = Field(min_length=1)
    # how cells are written
    decimal: Literal[".", ","] = "."
    dates: Paths = ("iso",)  # spellings, in strptime's letters; the first that fits
    time_zone: str = "UTC"  # of times without offset
    # files
    format: Literal["csv", "json", "jsonl", "parquet", "xlsx"] | None = None  # default: by the name's ending
    encoding: str | None = None  # default: found out
    delimiter: str | None = None  # default: found out
    sheet: str | None = None  # default: the first
    skip: int = Field(default=0, ge=0)  # lines above the header
    records: str = ""  # dotted path of the list in a JSON document
    melt: Melt | None = None
    # how it is read
    read: Literal["append", "snapshot", "cursor", "window"] = "append"
    cursor: str | None = None  # column of a database table that grows with each change
    window: str | None = None  # column with the date that a row is about
    last: Duration = parse_duration("7d")  # how far back windows reach
    lag: Duration = parse_duration("2m")  # how late a change may appear under an earlier cursor
    sweep: Duration | None = None  # how often a table with a cursor is read whole besides
    cadence: Duration = parse_duration("10m")

    @model_validator(mode="before")
    @classmethod
    def _read_follows(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "read" in content:
            return content
        implied = "snapshot" if content.get("database_table") else "append"
        return {**content, "read": next((way for way in ("cursor", "window") if content.get(way)), implied)}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.files is None) == (self.database_table is None):
            raise ValueError("say either `files` or `database_table`")
        if self.files is not None and self.read not in ("append", "snapshot"):
            raise ValueError("files are read as `append` or `snapshot`")
        if self.database_table is not None and self.read == "append":
            raise ValueError("a database table is read as `snapshot`, `cursor` or `window`")
        if (self.read == "cursor") != (self.cursor is not None):
            raise ValueError("`read: cursor` and `cursor: <column>` go together")
        if (self.read == "window") != (self.window is not None):
            raise ValueError("`read: window` and `window: <column>` go together")
        if self.sweep is not None and self.cursor is None:
            raise ValueError("`sweep` is for tables with a cursor")
        if self.files is not None and any(not into.key for into in self.into):
            raise ValueError(f"files need a `key` for each target; without a better one: [{FILE!r}, {LINE!r}]")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.time_zone!r} is no time zone") from error
        return self

    @property
    def digest(self) -> str:
        """Changes with the mapping, so that what was read by another one is read again."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def into_of(self, stream: str) -> Iterator[Into]:
        """The targets that are in that stream."""
        return (into for into in self.into if into.stream == stream)


class Mapping(DataModel):
    """All that a source reads."""

    rows: tuple[Rows, ...] = Field(min_length=1)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams in order of first mention."""
        return tuple(dict.fromkeys(into.stream for rows in self.rows for into in rows.into))

    def of(self, stream: str) -> tuple[Rows, ...]:
        """The rows that a stream is made of."""
        return tuple(rows for rows in self.rows if any(rows.into_of(stream)))

    @model_validator(mode="after")
    def _streams_are_of_one_kind(self) -> Self:
        for stream in self.streams:
            rows = self.of(stream)
            if len({one.read for one in rows}) > 1:
                raise ValueError(f"{stream} is read as both `{rows[0].read}` and `{rows[1].read}`")
            if len(rows) > 1 and rows[0].database_table is not None:
                raise ValueError(f"{stream} comes from two database tables; give each its own, and union them in SQL")
        return self


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a file, checked, as a source's setting; ConfigError names the file, the line and the field."""
    content, line_of = read_yaml(path, "larder files preview --help")
    try:
        Mapping.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{path}:{line_of(first['loc'])}: {_where(first['loc'])}: {first['msg'].removeprefix('Value error, ')}",
            next_command="larder files preview --help",
        ) from error
    return content


def parse_mapping(content: object, again: str) -> Mapping:
    """The mapping in a source's settings; ConfigError names the field."""
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"the mapping is wrong: {_where(first['loc'])}: {first['msg']}", next_command=again
        ) from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the mapping"
