"""The integration `data`: what all files and databases have in common. Which streams there are, each source says."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ingestion.data.mapping import DEFINITIONS, parse_mapping
from ingestion.spec import Cursor, Entity, IntegrationSpec, NoAuth, RateLimit, Setting, Stream

NAME = "data"
MAPPING, PATH, KIND = "mapping", "path", "kind"

_SHAPE = Stream(
    name="rows",
    about="Rows of files or of a database",
    path="",
    records=(),
    natural_key=("key",),
    refused="refused",
    currency=("columns.currency",),
    cursor=Cursor(format="iso_offset"),
    deletes="complete_window",
    window_field="window",
    volatile=("file", "line"),
    links=tuple(f"columns.{name}" for name in ("sale_key", "parent_key", "sale_item_key", "payment_key", "refund_key")),
)


class DataSpec(IntegrationSpec):
    """Any name is a stream: those of entities, and a table of a source's own."""

    def stream(self, name: str) -> Stream:
        """The stream of that name; they are all of one shape."""
        return stream_of(name)

    def of(self, config: Mapping[str, Any], again: str) -> IntegrationSpec:
        """The streams of one source, by its mapping; ConfigError where that is wrong."""
        mapping = parse_mapping(config.get(MAPPING), again)
        cadence = {name: min(rows.cadence for rows in mapping.of(name)) for name in mapping.streams}
        streams = [stream_of(name).model_copy(update={"cadence": every}) for name, every in cadence.items()]
        return self.model_copy(update={"streams": tuple(streams)})

    def of_all(self, configs: Iterable[Mapping[str, Any]]) -> IntegrationSpec:
        """The streams of entities, and those of all the given sources' own tables."""
        own = dict.fromkeys(
            name
            for config in configs
            for rows in config.get(MAPPING, {}).get("rows", ())
            for into in rows.get("into", ())
            if (name := into.get("table"))
        )
        tables = [stream_of(name) for name in (DEFINITIONS, *own)] if own else []
        return self.model_copy(update={"streams": (*self.streams, *tables)})


def stream_of(name: str) -> Stream:
    """One of the streams: of an entity, or a table of a source's own."""
    if name in get_args(Entity):
        return _SHAPE.model_copy(
            update={"name": name, "feeds": (name,), "about": f"Rows that are a {name}, by mapping"}
        )
    about = "Tables of sources' own: their columns and types" if name == DEFINITIONS else f"Rows of a table {name}"
    return _SHAPE.model_copy(update={"name": name, "about": about})


DATA = DataSpec(
    name=NAME,
    title="Files and databases",
    kind="any",
    docs="docs/any-other-data.md",
    base_url="",
    config={
        KIND: Setting(about="files or database"),
        PATH: Setting(about="the folder, file or object store of the files", required=False),
        MAPPING: Setting(about="what the columns are; from a mapping file", required=False),
    },
    auth=NoAuth(type="none"),
    rate_limit=RateLimit(requests=1000),
    money="decimal_string",
    time_zone="account",
    streams=tuple(stream_of(name) for name in get_args(Entity)),
    version="1",
)
