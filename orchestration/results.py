"""What a build of one shard came to: plain values that cross process borders. Imports neither dbt nor Dagster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

GOOD = frozenset({"success", "pass", "warn", "no-op", "partial success"})
BAD = frozenset({"error", "fail", "runtime error"})
_CHANGED = re.compile(r"\b(?P<before>\d+)?\s*(?P<what>inserted|deleted|unchanged)(?:\s*[=:]?\s*(?P<after>\d+))?", re.I)


@dataclass(frozen=True)
class Target:
    """The database that a build goes to. `namespace` prefixes every schema of the shard ('' where it has none)."""

    name: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: str = ""
    namespace: str = ""

    def schema(self, bare: str) -> str:
        """`marts` → `ns_marts` behind a namespace, else `marts`."""
        return f"{self.namespace}_{bare}" if self.namespace else bare


@dataclass(frozen=True)
class Job:
    """One build of one shard.

    `stale`: these models and what hangs on them, then the data tests of what changed, on what changed. A selection:
    `python` models first, then what dbt's selectors choose. Neither: everything, Python models included.
    `new_day`: Python models too, after what they read. `whole_tests`: all data tests, on all rows. `untested`: models
    that an earlier build changed without testing them.
    """

    target: Target
    stale: tuple[str, ...] | None = None
    new_day: bool = True
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    full_refresh: bool = False
    tests: bool = True
    unit_tests: bool = False
    whole_tests: bool = False
    untested: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeResult:
    """One dbt node on one shard. `inserted` and `deleted` are rows really changed; None where the node has no rows of
    its own (views, tests) or its materialization does not say."""

    unique_id: str
    kind: str
    status: str
    seconds: float
    inserted: int | None = None
    deleted: int | None = None
    failures: int | None = None
    message: str | None = None
    materialized: str | None = None

    @property
    def skipped(self) -> str | None:
        """Why nothing was made of it, if so: no source of its vendor here, or no news from its parents."""
        if self.message and self.message.startswith("SKIP"):
            return self.message.removeprefix("SKIP").lstrip(": ")
        if self.follows and self.message and self.message.endswith("; nothing new"):
            return "nothing new in its parents"
        return None

    @property
    def follows(self) -> bool:
        """Whether it is a model that bears its own mark, and so is tried again by itself after an error."""
        return self.materialized in ("changed_facets", "key_table", "conformed_key_table")

    @property
    def name(self) -> str:
        """The node's own name; of a data test the readable part, without dbt's hash."""
        parts = self.unique_id.split(".")
        return ".".join(parts[2:-1]) if self.kind == "test" and len(parts) > 3 else ".".join(parts[2:])

    @property
    def changed(self) -> int | None:
        """Rows inserted plus deleted, None where unknown."""
        if self.inserted is None and self.deleted is None:
            return None
        return (self.inserted or 0) + (self.deleted or 0)


@dataclass(frozen=True)
class BuildResult:
    """One shard's build. `error` is set when dbt could not run at all (no connection, worker died, parse error)."""

    shard: str
    nodes: tuple[NodeResult, ...] = ()
    error: str | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    parse_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """No error and no failed model or test."""
        return self.error is None and not self.failed

    @property
    def failed(self) -> tuple[NodeResult, ...]:
        """Nodes that ended in an error or a failed test (what was skipped because of them is not among them)."""
        return tuple(n for n in self.nodes if n.status in BAD)

    @property
    def models(self) -> tuple[NodeResult, ...]:
        """Models (Python ones too), seeds and snapshots, in the order they finished."""
        return tuple(n for n in self.nodes if n.kind in ("model", "seed", "snapshot", "python"))

    @property
    def python(self) -> tuple[NodeResult, ...]:
        """Python models."""
        return tuple(n for n in self.nodes if n.kind == "python")

    @property
    def tests(self) -> tuple[NodeResult, ...]:
        """Data and unit tests, in the order they finished."""
        return tuple(n for n in self.nodes if n.kind in ("test", "unit_test"))


def rows_changed(response: Mapping[str, object], message: str | None) -> tuple[int | None, int | None]:
    """Rows (inserted, deleted) of a finished model.

    dbt's adapter response has fixed fields, so the materialization says it in the message ("3 inserted, 2 deleted");
    a plain SELECT/INSERT response counts as inserted. Views and ephemeral models give (None, None).
    """
    found: dict[str, int] = {}
    for match in _CHANGED.finditer(message or ""):
        number = match["before"] or match["after"]
        if number is not None:
            found[match["what"].lower()] = int(number)
    if found:
        return found.get("inserted", 0), found.get("deleted", 0)
    affected = response.get("rows_affected")
    if isinstance(affected, int) and affected >= 0 and response.get("code") in ("INSERT", "SELECT"):
        return affected, 0
    return None, None
