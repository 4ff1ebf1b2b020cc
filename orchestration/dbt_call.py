"""One call of dbt in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dbt.adapters.base import impl
from dbt.cli.main import dbtRunner

from orchestration import dbt_connections


def call_dbt(arguments: Sequence[str], manifest: Any = None, callbacks: Sequence[Callable[[Any], None]] = ()) -> Any:
    """Run a command of dbt; returns dbt's own result, which holds what it raised.

    Args:
        manifest: of a project that is parsed already.
        callbacks: told of each of dbt's events.
    """
    _forget_repeated_flags()
    dbt_connections.install()
    return dbtRunner(manifest=manifest, callbacks=list(callbacks)).invoke(list(arguments))


def _forget_repeated_flags() -> None:
    """Each adapter that dbt makes appends its flags to one list of the module (BaseAdapter.behavior), and each flag of
    the list looks through the whole call stack: the 200th call of a process took 10 s longer than its first."""
    flags = impl.DEFAULT_BASE_BEHAVIOR_FLAGS
    flags[:] = {flag["name"]: flag for flag in flags}.values()
