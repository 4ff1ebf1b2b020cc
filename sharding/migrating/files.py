"""Migration files: `NNNN_name.sql` with the notes that its first comment lines carry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

MIGRATIONS = Path(__file__).resolve().parents[2] / "shard_migrations"
Kind = Literal["shard", "control"]

_OUTSIDE = re.compile(r"\A-- outside a transaction\b")
_CONTRACT = re.compile(r"^-- contract:\s*\S", re.MULTILINE)
_END = re.compile(r";[ \t]*(?:--[^\n]*)?(?:\n|\Z)")


@dataclass(frozen=True)
class Migration:
    """One file. `revision` is the first four characters of its name."""

    revision: str
    path: Path

    @cached_property
    def text(self) -> str:
        """The file's SQL, schema names still as placeholders."""
        return self.path.read_text()

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def outside(self) -> bool:
        """It begins with `-- outside a transaction`: each of its statements commits by itself."""
        return bool(_OUTSIDE.match(self.text))

    @property
    def contracts(self) -> bool:
        """A line `-- contract: …` says that it takes away what code before it may still use."""
        return bool(_CONTRACT.search(self.text))

    def statements(self) -> list[str]:
        """The statements of a file outside a transaction: each ends with a semicolon at the end of a line."""
        parts = (part.strip() for part in _END.split(self.text))
        return [part for part in parts if re.sub(r"--[^\n]*", "", part).strip()]


def files_of(kind: Kind, folder: Path) -> dict[str, Migration]:
    """The migrations by revision, in order."""
    paths = sorted((folder / kind).glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return {path.name[:4]: Migration(path.name[:4], path) for path in paths}


def fingerprint(files: Mapping[str, Migration]) -> str:
    """One hash of all files: another one is another set of migrations."""
    told = "\n".join(f"{revision} {migration.sha256}" for revision, migration in files.items())
    return hashlib.sha256(told.encode()).hexdigest()
