"""Migration files keep to docs/migrations.md: expand first, contract later, and nobody waits for a big table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharding.migrating.files import MIGRATIONS, Migration
from sharding.model import SCHEMAS

FIRST_UNDER_RULES = "0006"
"""Those before it made the schema that the rules protect."""

TAKES_AWAY = re.compile(
    r"\bdrop\s+(?:table|column|function|schema|view|type|sequence)\b|\brename\s+(?:to|column)\b"
    r"|\balter\s+column\s+\S+\s+(?:set\s+data\s+)?type\b|\bset\s+not\s+null\b"
)
REWRITES = re.compile(
    r"\balter\s+column\s+\S+\s+(?:set\s+data\s+)?type\b|\bset\s+(?:un)?logged\b|\bset\s+tablespace\b"
    r"|\badd\s+column\b[^,;]*\b(?:clock_timestamp|gen_random_uuid|random|nextval|pg_current_xact_id)\s*\("
    r"|\badd\s+column\b[^,;]*\b(?:generated|references|primary\s+key|unique)\b|\bcluster\b|\bvacuum\s+full\b"
)
SCANS = re.compile(r"\badd\s+(?:constraint\s+\S+\s+)?(?:check|foreign\s+key|primary\s+key|unique)\b(?P<rest>[^;]*)")
INDEX = re.compile(
    r"\bcreate\s+(?:unique\s+)?index\s+(?P<concurrently>concurrently\s+)?(?:if\s+not\s+exists\s+)?"
    r"(?P<name>(?!on\b)[\w.{}%$]+\s+)?on\s+(?P<table>[\w.{}%$]+)"
)
MADE = re.compile(r"\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(?P<table>[\w.{}%$]+)")
ALTERED = re.compile(r"\balter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?(?P<table>[\w.{}%$]+)")
FILLS = re.compile(r"\A\s*update\s+(?P<table>[\w.{}%$]+)")
LITERAL_SCHEMA = re.compile(rf"(?<![\w{{.'])(?:{'|'.join(SCHEMAS)})\.[a-z_]\w*")


def faults(migration: Migration) -> Iterator[str]:
    """What a file does that its notes do not allow."""
    text = migration.text
    made = {found["table"].lower() for found in MADE.finditer(bare(text).lower())}
    if migration.outside and "$$" in text:
        yield "outside a transaction a statement ends with its line's semicolon: no function bodies"
    for note, statement in statements(migration):
        said = statement.lower()
        altered = ALTERED.search(said)
        new = altered is not None and altered["table"] in made
        small = "-- small:" in note
        if TAKES_AWAY.search(said) and not new and not migration.contracts:
            yield f"takes away what running code may use, without `-- contract: why`: {said.strip()[:80]}"
        if REWRITES.search(said) and not new and not small:
            yield f"rewrites or scans a table under an exclusive lock, without `-- small: why`: {said.strip()[:80]}"
        for found in SCANS.finditer(said):
            if altered and not new and not small and not re.search(r"not\s+valid|using\s+index", found["rest"]):
                yield f"scans a table under an exclusive lock; `not valid` or `-- small: why`: {said.strip()[:80]}"
        for found in INDEX.finditer(said):
            yield from index_faults(migration, found, said, made, small)
        if (filled := FILLS.search(said)) and filled["table"] not in made and not small:
            yield f"writes many rows in the migration's transaction, without `-- small: why`: {said.strip()[:80]}"
        if re.search(r"\block\s+table\b", said):
            yield "locks a table by hand"
        if migration.path.parent.name == "shard" and (literal := LITERAL_SCHEMA.search(said)):
            yield f"names a schema without its placeholder: {literal[0]}"


def index_faults(migration: Migration, found: re.Match[str], said: str, made: set[str], small: bool) -> Iterator[str]:
    """An index is made beside writers, and a cut-off one is made anew; on a new or small table it need not be."""
    name = (found["name"] or "").strip()
    if not found["concurrently"]:
        if found["table"] not in made and "%" not in found["table"] and not small:
            yield f"makes writers of {found['table']} wait; `concurrently` or `-- small: why`"
    elif not migration.outside:
        yield "`concurrently` needs `-- outside a transaction` as the file's first line"
    elif not re.search(
        rf"drop\s+index\s+concurrently\s+if\s+exists\s+\S*\b{re.escape(name)}\s*;", bare(migration.text).lower()
    ):
        yield f"index {name} stays invalid after a kill: `drop index concurrently if exists` before it"


def statements(migration: Migration) -> Iterator[tuple[str, str]]:
    """(comments before and in a statement, its SQL without comments); function bodies are not looked into."""
    without_bodies = re.sub(r"(\$\w*\$).*?\1", "''", migration.text, flags=re.DOTALL)
    for part in re.split(r";(?=[ \t]*(?:--[^\n]*)?(?:\n|\Z))", without_bodies):
        if bare(part).strip():
            yield "\n".join(re.findall(r"--[^\n]*", part)), bare(part)


def bare(text: str) -> str:
    """SQL without comments."""
    return re.sub(r"--[^\n]*", "", text)


def files() -> list[Path]:
    return sorted(path for path in MIGRATIONS.glob("*/*.sql") if path.name[:4] >= FIRST_UNDER_RULES)


@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_keep_to_the_rules(path: Path) -> None:
    assert list(faults(Migration(path.name[:4], path))) == []


@pytest.mark.parametrize("kind", ["shard", "control"])
def test_each_file_has_a_number_of_its_own(kind: str) -> None:
    names = [path.name for path in (MIGRATIONS / kind).glob("*.sql")]
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)
    assert len({name[:4] for name in names}) == len(names)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("alter table {keys}.sale drop column parent_id;", "takes away"),
        ("drop function {keys}.reserve(int, bigint);", "takes away"),
        ("alter table {keys}.sale rename to sales;", "takes away"),
        ("alter table {keys}.sale alter column source_id set not null;", "takes away"),
        ("-- contract: unread\nalter table {keys}.sale alter column n type numeric;", "rewrites"),
        ("alter table {raw}.head add column at timestamptz default clock_timestamp();", "rewrites"),
        ("alter table {raw}.head add column at bigint references {keys}.source (id);", "rewrites"),
        ("alter table {raw}.head add constraint c check (ordinal > 0);", "scans"),
        ("alter table {raw}.head add constraint c foreign key (source_id) references {keys}.source (id);", "scans"),
        ("create index on {raw}.head (hash);", "makes writers of {raw}.head wait"),
        ("create index concurrently i on {raw}.head (hash);", "needs `-- outside a transaction`"),
        ("-- outside a transaction\ncreate index concurrently i on {raw}.head (hash);", "stays invalid"),
        ("-- outside a transaction\ndo $$ begin null; end $$;", "no function bodies"),
        ("update {raw}.head set hash = null;", "writes many rows"),
        ("lock table {raw}.head;", "locks a table"),
        ("create table raw.more (n int);", "without its placeholder: raw.more"),
    ],
)
def test_a_file_that_breaks_a_rule_is_found(tmp_path: Path, text: str, fault: str) -> None:
    found = list(faults(written(tmp_path, text)))
    assert found and fault in found[0], found


@pytest.mark.parametrize(
    "text",
    [
        "-- contract: nobody reads it since 0007\nalter table {keys}.sale drop column parent_id;",
        "alter table {raw}.head add column why text not null default '';",
        "alter table {raw}.head add constraint c check (ordinal > 0) not valid;",
        "alter table {raw}.head validate constraint c;",
        "-- small: a row a business\nalter table {keys}.route add constraint c check (epoch > 0);",
        "-- small: a row a business\ncreate index on {keys}.route (name);",
        "create table {raw}.more (n int);  -- as ; told\ncreate index on {raw}.more (n);\nupdate {raw}.more set n = 1;",
        "-- outside a transaction\ndrop index concurrently if exists {raw}.i;\n"
        "create index concurrently i on {raw}.head (hash);",
        "create or replace function {keys}.f() returns int language sql as $$ select 1 from raw.head; $$;",
    ],
)
def test_a_file_that_keeps_them_is_not(tmp_path: Path, text: str) -> None:
    assert list(faults(written(tmp_path, text))) == []


def written(tmp_path: Path, text: str) -> Migration:
    path = tmp_path / "shard" / "9001_new.sql"
    path.parent.mkdir()
    path.write_text(text)
    return Migration("9001", path)
