"""A new integration from one sample answer: its file, its staging models, its recorded page. Guesses, to be corrected.

Types are guessed from the values and from what fields are called; what cannot be seen in an answer (auth, budget, which
filter there is) gets the simplest setting that works, and a comment.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ingestion.currencies import ISO_4217
from ingestion.errors import ConfigError
from ingestion.generate import generated_files, write
from ingestion.registry import FILE, discover
from ingestion.spec import Kind, TimeFormat

INTEGRATIONS = Path("ingestion/integrations")

Type = Literal["id", "text", "boolean", "numeric", "money", "minor_units", "micros", "date", "timestamp", "epoch_ms",
               "epoch_s"]  # fmt: skip
_HEADINGS: Mapping[str, tuple[Type, ...]] = {
    "ids": ("id",),
    "strings": ("text",),
    "booleans": ("boolean",),
    "numerics": ("numeric", "money", "minor_units", "micros"),
    "dates": ("date",),
    "times": ("timestamp", "epoch_ms", "epoch_s"),
}
_KEYS = ("id", "guid", "uuid", "uid", "key")
_MODIFIED = ("modified", "updated", "changed", "lastupdate", "timestamp")
_MONEY = ("price", "amount", "total", "cost", "tax", "tip", "spend", "fee", "discount", "wage", "revenue", "balance")
_TIME = ("time", "date", "created", "modified", "updated", "_at", "start", "end")
_NEXT = ("next", "next_url", "nextPage", "next_page")
_CURSORS = ("cursor", "next_cursor", "nextCursor", "nextPageToken", "next_page_token")
_WORDS = """
all analyse analyze and any array as asc between both case cast check collate column constraint create cross
current current_date current_role current_time current_user date default deferrable desc distinct do else end
except false fetch for foreign from full grant group having id in index initially inner intersect interval into is
join key lateral leading left like limit localtime name natural not null number offset on only or order outer over
overlaps primary references returning right row rows select session_user similar some state status symmetric table
text then time timestamp title to trailing true type union unique user using value values when where window with
"""  # that Postgres or SQLFluff would trip over, and names that say too little
_RESERVED = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Field:
    """A value in the records: where it is, what it is called in staging, and what it seems to be."""

    path: tuple[str, ...]
    column: str
    type: Type

    @property
    def expression(self) -> str:
        """The value in SQL, out of `{record}`."""
        at, text = _json(self.path), _text(self.path)
        match self.type:
            case "id" | "text":
                return text
            case "boolean":
                return f"({text})::boolean"
            case "numeric" | "money":
                return f"({text})::numeric"
            case "minor_units":
                return f'{{{{ from_minor_units("({at})") }}}}'
            case "micros":
                return f"({text})::numeric / 1000000"
            case "date":
                return f"({text})::date"
            case "timestamp":
                return f"({text})::timestamptz"
            case "epoch_ms":
                return f'{{{{ from_epoch_ms("({text})") }}}}'
            case "epoch_s":
                return f"to_timestamp(({text})::numeric)"


def _json(path: Sequence[str]) -> str:
    return f"{{record}} -> '{path[0]}'" if len(path) == 1 else f"{{record}} #> '{{{','.join(path)}}}'"


def _text(path: Sequence[str]) -> str:
    return f"{{record}} ->> '{path[0]}'" if len(path) == 1 else f"{{record}} #>> '{{{','.join(path)}}}'"


@dataclass(frozen=True)
class Sample:
    """An answer of the vendor, and what it tells."""

    vendor: str
    stream: str
    body: Any

    @classmethod
    def read(cls, vendor: str, stream: str, file: Path) -> "Sample":
        """Read a file of JSON; ConfigError if it is none, or has no records."""
        again = f"larder integration new {vendor} --sample FILE"
        try:
            body = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} is no JSON: {error}", next_command=again) from error
        sample = cls(vendor, stream, body)
        if not sample.records:
            raise ConfigError(
                f"{file} has no list of objects, and is none: there are no records in it", next_command=again
            )
        return sample

    @cached_property
    def records_at(self) -> str:
        """Path of the longest list of objects; the body itself where there is none."""
        found = {path: len(value) for path, value in _lists(self.body, "") if value}
        return max(found, key=lambda path: (found[path], -path.count("."))) if found else ""

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records of the sample."""
        value = self.body
        for step in self.records_at.split(".") if self.records_at else ():
            value = value[step]
        return [value] if isinstance(value, dict) and value else value if isinstance(value, list) else []

    @property
    def singular(self) -> str:
        """What one record is called."""
        if self.stream.endswith("ies"):
            return f"{self.stream[:-3]}y"
        return self.stream[:-1] if self.stream.endswith("s") and not self.stream.endswith("ss") else self.stream

    @cached_property
    def key(self) -> str:
        """The field that identifies a record: called so, else one that differs in all of them."""
        scalars = [name for name, value in self.records[0].items() if isinstance(value, str | int | Decimal)]
        differing = [
            name for name in scalars if len({str(record.get(name)) for record in self.records}) == len(self.records)
        ]
        called = {_snake(name): name for name in reversed(differing)}
        for wanted in (*_KEYS, *(f"{self.singular}_{key}" for key in _KEYS)):
            if wanted in called:
                return called[wanted]
        if not differing:
            raise ConfigError(
                "no field of the sample differs in all its records, so none can identify them",
                next_command=f"larder integration new {self.vendor} --sample FILE",
            )
        return next((name for name in differing if _snake(name).endswith("_id")), differing[0])

    @cached_property
    def modified(self) -> tuple[str, TimeFormat] | None:
        """The field that says when a record last changed, and its spelling."""
        times = [(name, spelling) for name, values in self._top() if (spelling := spelling_of(name, values))]
        for word in _MODIFIED:
            for name, spelling in times:
                if word in _snake(name).replace("_", "") and spelling != "date":
                    return name, spelling
        return None

    @cached_property
    def currencies(self) -> list[str]:
        """Paths of the fields that hold ISO currencies."""
        return [
            ".".join(path)
            for path, values in _scalars(self.records)
            if "currency" in path[-1].lower() and all(value in ISO_4217 for value in values)
        ]

    @cached_property
    def lists(self) -> dict[str, list[dict[str, Any]]]:
        """Lists of objects in the records: path → their elements."""
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.records:
            for path, elements in _lists(record, ""):
                found.setdefault(path, []).extend(elements)
        return {path: elements for path, elements in found.items() if elements}

    @property
    def paging(self) -> str:
        """How there is more, where the body tells."""
        for path, value in _envelope(self.body, self.records_at):
            name = path.rpartition(".")[2]
            if name in _NEXT and isinstance(value, str) and value.startswith("http"):
                return f"{{type: next_url, next: {path}}}"
            if name in _CURSORS:
                return f"{{type: cursor_query, cursor: {path}}}"
        return "{type: single}"

    @property
    def money(self) -> str:
        """The convention of amounts."""
        types = {found.type for found in (*self.fields(), *(f for name in self.lists for f in self.fields(name)))}
        for kind in ("minor_units", "micros"):
            if kind in types:
                return kind
        if "money" not in types:
            return "none"
        named = [values for path, values in _scalars(self.records) if _is_money(path[-1])]
        return "decimal_string" if named and isinstance(named[0][0], str) else "decimal"

    def fields(self, of_list: str = "") -> list[Field]:
        """The values of the records, or of the elements of a list in them."""
        records = self.lists[of_list] if of_list else self.records
        prefix = _snake(of_list.rpartition(".")[2]).rstrip("s") if of_list else self.singular
        taken = {"source_id", f"{self.singular}_key"}
        fields = []
        for path, values in _scalars(records):
            kind = type_of(path, values)
            if kind is None or (not of_list and path == (self.key,)):
                continue
            column = "_".join(_snake(step) for step in path)
            if column in _RESERVED or column in taken or column[:1].isdigit():
                column = f"{prefix}_{column}"
            if kind == "id" and column.endswith("_id"):
                column = f"{column[:-3]}_key"
            while column in taken:
                column = f"{column}_value"
            taken.add(column)
            fields.append(Field(path, column, kind))
        return fields

    def _top(self) -> Iterator[tuple[str, list[Any]]]:
        return ((path[0], values) for path, values in _scalars(self.records) if len(path) == 1)


def _scalars(records: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Path → values that are there, of everything that is no list; amounts with their currency count as one value."""
    found: dict[tuple[str, ...], list[Any]] = {}

    def walk(value: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for name, member in value.items():
            if isinstance(member, dict) and not _is_amount(member) and len(path) < 2:
                walk(member, (*path, name))
            elif not isinstance(member, list) and (not isinstance(member, dict) or _is_amount(member)):
                values = found.setdefault((*path, name), [])
                if member not in (None, ""):
                    values.append(member)

    for record in records:
        walk(record, ())
    return list(found.items())


def _is_amount(value: Mapping[str, Any]) -> bool:
    return set(value) == {"amount", "currency"} and isinstance(value["amount"], int)


def type_of(path: Sequence[str], values: Sequence[Any]) -> Type | None:
    """What the values of a field seem to be; None where there are none."""
    if not values:
        return None
    name = _snake(path[-1])
    if isinstance(values[0], dict):
        return "minor_units"
    if all(isinstance(value, bool) for value in values):
        return "boolean"
    if name in _KEYS or name.endswith(tuple(f"_{key}" for key in _KEYS)):
        return "id"
    spelling = spelling_of(name, values)
    if spelling == "epoch_ms" or spelling == "epoch_s" or spelling == "date":
        return spelling
    if spelling is not None:
        return "timestamp"
    if all(_is_number(value) for value in values):
        if name.endswith("micros"):
            return "micros"
        if _is_money(name):
            return "money"
        return "text" if isinstance(values[0], str) else "numeric"
    return "text"


def spelling_of(name: str, values: Sequence[Any]) -> TimeFormat | None:
    """The spelling of times, if that is what the values are."""
    if not values:
        return None
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        if not any(word in _snake(name) for word in _TIME):
            return None
        digits = {len(str(value)) for value in values}
        return "epoch_s" if digits == {10} else "epoch_ms" if digits == {13} else None
    if not all(isinstance(value, str) for value in values):
        return None
    spellings = {_spelling(value) for value in values}
    return spellings.pop() if len(spellings) == 1 else None


def _spelling(text: str) -> TimeFormat | None:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return "date"
    try:
        if re.match(r"\d{4}-\d\d-\d\dT", text):
            return "iso_offset" if datetime.fromisoformat(text).tzinfo else None
        return "rfc2822" if "," in text[:5] and parsedate_to_datetime(text).tzinfo else None
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    return isinstance(value, int | Decimal)


def _is_money(name: str) -> bool:
    return any(word in _snake(name) for word in _MONEY)


def _lists(value: Any, path: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Lists of objects, not those inside other lists."""
    if isinstance(value, list):
        if all(isinstance(element, dict) for element in value):
            yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _lists(member, f"{path}.{name}" if path else name)


def _envelope(value: Any, records_at: str, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            below = f"{path}.{name}" if path else name
            if below != records_at:
                yield below, member
                yield from _envelope(member, records_at, below)


def _snake(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name)
    return re.sub(r"_+", "_", spaced).strip("_").lower()


@dataclass(frozen=True)
class Scaffold:
    """The files of a new integration; paths relative to the repository's root."""

    sample: Sample
    title: str
    kind: Kind
    base_url: str
    page: str  # the sample as it is
    files: dict[Path, str] = field(init=False)

    def __post_init__(self) -> None:
        vendor, stream = self.sample.vendor, self.sample.stream
        staging, recorded = Path("dbt_project/models/staging") / vendor, Path("tests/recorded") / vendor
        files = {
            INTEGRATIONS / vendor / FILE: self._integration(),
            staging / f"stg_{vendor}__{stream}.sql": self._model(),
            staging / f"_{vendor}__models.yml": self._models(),
            recorded
            / "source.yml": f"# The sample that the integration was begun with.\nbusiness: {{name: {self.title}}}\n",
            recorded / f"{stream}.json": self.page,
            recorded / "expected.yml": _EXPECTED,
        }
        for name in self.sample.lists:
            files[staging / f"stg_{vendor}__{self._list_model(name)}.sql"] = self._list(name)
        object.__setattr__(self, "files", files)

    def _integration(self) -> str:
        sample = self.sample
        stream = [
            f"  - name: {sample.stream}",
            f"    about: {sample.stream.replace('_', ' ').capitalize()}",
            f"    path: /v1/{sample.stream}   # the vendor's",
            f"    records: {json.dumps(sample.records_at)}",
            f"    natural_key: {sample.key}",
        ]
        if sample.modified:
            stream.append(f"    modified: {{path: {sample.modified[0]}, format: {sample.modified[1]}}}")
        if sample.currencies:
            stream.append(f"    currency: [{', '.join(sample.currencies)}]")
        stream += [
            f"    paging: {sample.paging}",
            "    deletes: snapshot   # read whole each time; where there is a filter by change: `cursor`",
            "    cadence: 1h",
            "    # feeds: [sale]      # once there is a model int_<vendor>__sales; docs/add-a-model.md",
        ]
        lines = [
            f"name: {sample.vendor}",
            f"title: {self.title}",
            f"kind: {self.kind}",
            f"docs: {self.base_url}   # where the vendor documents its API",
            f"base_url: {self.base_url}",
            "auth: {type: bearer, secret: access_token}   # others: docs/integration-file.md",
            "rate_limit: {requests: 5, per: 1s}   # the vendor's; a careful guess until then",
            f"money: {sample.money}",
            "time_zone: utc",
            "",
            "streams:",
        ]
        return "\n".join([*lines, *stream]) + "\n"

    def _model(self) -> str:
        keys = ["source_id", f"natural_key as {self.sample.singular}_key"]
        columns = _columns(keys, self.sample.fields(), "payload")
        return _model(f"source('raw_{self.sample.vendor}', '{self.sample.stream}_current')", columns, "")

    def _list(self, name: str) -> str:
        elements = _json(name.split(".")).replace("{record}", "source.payload")
        number = f"{self._element(name)}_number"
        keys = [f"source.natural_key as {self.sample.singular}_key", f"element.number as {number}"]
        columns = _columns(["source.source_id", *keys], self.sample.fields(name), "element.value")
        below = (
            f'\n    cross join lateral {{{{ elements("{elements}") }}}}'
            " with ordinality as element (value, number)  -- noqa: AL05"
        )
        return _model(f"source('raw_{self.sample.vendor}', '{self.sample.stream}_current')", columns, below)

    def _models(self) -> str:
        sample = self.sample
        lines = ["models:", *self._described(sample.stream, f"One row per {sample.singular.replace('_', ' ')}.", "")]
        for name in sample.lists:
            about = f"`{name}` of {sample.stream.replace('_', ' ')}. One row per {sample.singular} and element."
            lines += ["", *self._described(self._list_model(name), about, name)]
        return "\n".join(lines) + "\n"

    def _described(self, model: str, about: str, of_list: str) -> list[str]:
        sample = self.sample
        keys = [
            ("source_id", f"The business's connection to {self.title}."),
            (f"{sample.singular}_key", "The vendor's key."),
        ]
        if of_list:
            keys.append((f"{self._element(of_list)}_number", "Place in the list, from 1."))
        columns = [*keys, *((f.column, f"`{'.'.join(f.path)}`.") for f in sample.fields(of_list))]
        return [
            f"  - name: stg_{sample.vendor}__{model}",
            f"    description: {json.dumps(about)}",
            "    columns:",
            *(f"      - {{name: {column}, description: {json.dumps(said)}}}" for column, said in columns),
        ]

    def _list_model(self, name: str) -> str:
        return f"{self.sample.singular}_{_snake(name)}"

    def _element(self, name: str) -> str:
        return _snake(name.rpartition(".")[2]).rstrip("s") or "element"


def begin(root: Path, scaffold: Scaffold) -> list[Path]:
    """Write a new integration below the repository's root, and what is generated from it; returns the paths.

    ConfigError if any of its own files is there already: nothing is written then.
    """
    taken = [path for path in scaffold.files if (root / path).exists()]
    if taken:
        raise ConfigError(f"{taken[0]} is there already", next_command="larder integration list")
    for path, text in scaffold.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return [*scaffold.files, *write(root, generated_files(discover((root / INTEGRATIONS,))))]


_EXPECTED = """# Relation of marts → the rows that the page comes to, by hand; tests/recorded/conftest.py says how.
# None yet: nothing is made of the records beyond staging. The page itself is loaded by the test as it is.
{}
"""


def _columns(keys: Sequence[str], fields: Sequence[Field], record: str) -> str:
    groups = {heading: [found for found in fields if found.type in types] for heading, types in _HEADINGS.items()}
    blocks = []
    for heading, members in groups.items():
        lines = [*keys] if heading == "ids" else []
        lines += [f"{found.expression.replace('{record}', record)} as {found.column}" for found in members]
        if lines:
            blocks.append(f"        -- {heading}\n        " + ",\n        ".join(lines))
    return ",\n\n".join(blocks)


def _model(source: str, columns: str, below: str) -> str:
    return f"""with source as (

    select * from {{{{ {source} }}}}

),

renamed as (

    select
{columns}

    from source{below}

)

select * from renamed
"""
