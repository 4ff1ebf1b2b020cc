"""Python models: what SQL says badly (forecasts), with the same refs, contract, ids and publication as an SQL model.

A Python model reads finished models and fills an *input table*, declared as a table of the dbt source `python`. A thin
dbt model under the same name publishes it: contract, tests, difference-apply and the record of changes then are the
same code for SQL and Python, and an SQL model can `ref` it. Writing the mart from Python would need a second
implementation of all four.

The columns and types of the input table stand once, in the YAML of the source; rows are checked against them here.
"""

from __future__ import annotations

import csv
import importlib
import io
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import psycopg2

from orchestration.results import GOOD, NodeResult, Target

PYTHON_SOURCE = "python"
Row = tuple[object, ...]
Read = Callable[[str, Sequence[str]], Iterator[Row]]
_TYPES: Mapping[str, type] = {
    "bigint": int, "integer": int, "int": int, "smallint": int, "numeric": Decimal, "text": str, "boolean": bool,
    "date": date, "timestamptz": datetime, "timestamp with time zone": datetime,
}  # fmt: skip


@dataclass(frozen=True)
class PythonModel:
    """`compute(read)` gives rows in the order of the declared columns; `read(model, columns)` streams a ref's rows.

    Money comes and goes as Decimal: a float is refused.
    """

    name: str
    refs: tuple[str, ...]
    description: str
    compute: Callable[[Read], Iterable[Row]]

    @property
    def unique_id(self) -> str:
        """How results and asset keys name it."""
        return f"python.larder.{self.name}"


@cache
def python_models() -> Mapping[str, PythonModel]:
    """Every Python model by name."""
    package = importlib.import_module("orchestration.models")
    found = [
        importlib.import_module(f"{package.__name__}.{m.name}").MODEL for m in pkgutil.iter_modules(package.__path__)
    ]
    return {model.name: model for model in sorted(found, key=lambda m: m.name)}


def run_model(model: PythonModel, target: Target, manifest: Any, before: Sequence[NodeResult]) -> NodeResult:
    """Compute the model on the shard and replace its input table, in one transaction.

    `manifest` is the dbt manifest retargeted at the shard; `before` are this build's results so far: a ref that did not
    succeed in it skips the model.
    """
    started = time.monotonic()
    bad = [n.name for n in before if n.name in model.refs and n.kind == "model" and n.status not in GOOD]
    if bad:
        return NodeResult(model.unique_id, "python", "skipped", 0.0, message=f"{bad[0]} was not built")
    try:
        rows = _replace(model, target, manifest)
    except Exception as error:  # noqa: BLE001  whatever a model's code does wrong fails that model, and no test of others
        message = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return NodeResult(model.unique_id, "python", "error", time.monotonic() - started, message=message)
    seconds = round(time.monotonic() - started, 4)
    return NodeResult(model.unique_id, "python", "success", seconds, message=f"{rows} rows computed")


def _replace(model: PythonModel, target: Target, manifest: Any) -> int:
    relations = {n.name: n.relation_name for n in manifest.nodes.values() if n.resource_type == "model"}
    source = next(s for s in manifest.sources.values() if (s.source_name, s.name) == (PYTHON_SOURCE, model.name))
    feed = f'"{source.database}"."{source.schema}"."feed__{model.name}"'
    contract = {name: str(column.data_type) for name, column in source.columns.items()}
    conn = psycopg2.connect(
        host=target.host, port=target.port, user=target.username, password=target.password or None,
        dbname=target.database, connect_timeout=10, application_name=f"larder python model {model.name}",
    )  # fmt: skip
    try:
        with conn, conn.cursor() as cur:
            columns = ", ".join(f'"{name}" {kind}' for name, kind in contract.items())
            names = ", ".join(f'"{name}"' for name in contract)
            cur.execute("set transaction isolation level repeatable read")  # all refs as of one moment
            text, count = io.StringIO(), 0
            writer = csv.writer(text)
            for row in model.compute(_reader(model, conn, relations)):
                writer.writerow(_checked(row, contract))
                count += 1
            text.seek(0)
            cur.execute(f"drop table if exists {source.relation_name}")  # its columns are always the declared ones
            cur.execute(f"create table {source.relation_name} ({columns})")
            cur.copy_expert(f"copy {source.relation_name} ({names}) from stdin with (format csv)", text)
            cur.execute(f"create table if not exists {feed} (xid xid8 not null default pg_current_xact_id())")
            cur.execute(f"insert into {feed} default values")
        return count
    finally:
        conn.close()


def _reader(model: PythonModel, conn: Any, relations: Mapping[str, str]) -> Read:
    def read(name: str, columns: Sequence[str]) -> Iterator[Row]:
        if name not in model.refs:
            raise LookupError(f"{model.name} reads {name} without declaring it in refs")
        with conn.cursor(name=f"read_{name}") as cur:  # a named cursor streams instead of holding the whole table
            cur.itersize = 10_000
            cur.execute(f"select {', '.join(columns)} from {relations[name]} order by {', '.join(columns)}")
            yield from cur

    return read


def _checked(row: Row, contract: Mapping[str, str]) -> list[object]:
    if len(row) != len(contract):
        raise ValueError(f"a row has {len(row)} values for {len(contract)} declared columns")
    for value, (name, kind) in zip(row, contract.items(), strict=True):
        wanted = _TYPES[kind.split("(")[0].strip()]
        if value is not None and type(value) is not wanted:
            raise TypeError(f"column {name} is declared {kind}, got {type(value).__name__} {value!r}")
    return list(row)
