"""`larder reproduce`: what happened to a block happens again, on this machine, on a throwaway shard."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from uuid import UUID

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestration.reproduce import Builder, Finding, Reproduction
    from orchestration.reproduce_shard import Throwaway

GOAL_SECONDS = 30


def reproduce(
    block: Annotated[str, typer.Argument(help="A block's id; or a file written by --save or `larder blocks export`.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Build this model or test and all it reads. Default: all below the stream.")
    ] = None,
    load_only: Annotated[bool, typer.Option("--load-only", help="Build no models.")] = False,
    store: Annotated[
        str | None, typer.Option(help="Read the block from this store (a URL), not from the index.")
    ] = None,
    shell: Annotated[bool, typer.Option("--shell", help="Open psql on the throwaway shard.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, and say how to reach and remove it.")] = False,
    save: Annotated[Path | None, typer.Option(help="Only write the case to this file, for another machine.")] = None,
    as_test: Annotated[
        bool, typer.Option("--as-test", help="Write the failing records, masked, as a test into tests/regressions.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Load and build one block again on a throwaway shard, with what it depends on, and show what fails.

    Nothing is written to the installation, and nothing secret is taken from it. Exit code 5 where something failed.
    """
    out = Output(json)
    signal.signal(signal.SIGTERM, _stop)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="larder-case-")))
        began = time.monotonic()
        warm = threading.Thread(target=_warm_up, args=(load_only,), daemon=True)
        if save is None:
            warm.start()
        block_id = _gather(block, store, folder)
        gathered = {"case": time.monotonic() - began}
        if save is not None:
            from orchestration.reproduce_case import pack

            seal = pack(folder, save)
            out.say(f"seal {seal}")
            out.say(f"{save}: block {block_id} and what it depends on; on any machine: larder reproduce {save}")
            return
        warm.join()  # two threads may not import the same package at once
        builder = None if load_only else _builder
        found = _reproduce(folder, builder, model or [], gathered)
        stack.callback(_end, found.place, keep, out)
        if json:
            out.document(_document(found))
        else:
            _show(found, out)
        if as_test:
            _write_test(found, folder, model or [], load_only, out)
        if shell:
            _shell(found.place)
        if found.findings:
            raise typer.Exit(5)


def _stop(number: int, frame: object) -> NoReturn:
    """Who is told to end takes the throwaway along."""
    raise SystemExit(128 + number)


def _gather(block: str, store: str | None, folder: Path) -> UUID:
    """Put the case into `folder`."""
    from ingestion.blocks import BlockStore
    from orchestration.reproduce_case import gather, gather_from_store, unpack

    if Path(block).is_file():
        return unpack(Path(block), folder)
    try:
        block_id = UUID(block)
    except ValueError as error:
        raise LarderError(f"{block!r} is neither a block's id nor a file", "you", "larder blocks list") from error
    if store is not None:
        gather_from_store(BlockStore(store), block_id, folder)
    else:
        context = get_context()
        gather(context.catalogue, context.store, block_id, folder)
    return block_id


def _warm_up(load_only: bool) -> None:
    """Imports that take seconds, while the case is read."""
    from orchestration.reproduce import warm_up

    warm_up()


def _builder() -> Builder:
    from orchestration.project import project_dir
    from orchestration.reproduce import Builder
    from sharding.settings import project_root

    home = get_context().settings.home / "dbt"
    return Builder(project_dir(project_root(), home), home)


def _reproduce(
    folder: Path,
    builder: Callable[[], Builder] | None,
    models: Sequence[str],
    began: dict[str, float] | None = None,
) -> Reproduction:
    from orchestration.reproduce import reproduce

    return reproduce(get_context().settings, folder, builder, models, began)


def _show(found: Reproduction, out: Output) -> None:
    manifest, case = found.manifest, found.case
    out.say(
        f"block {manifest.block_id}: {manifest.records} records of {case.business['name']}/{case.source['name']},"
        f" {manifest.integration}.{manifest.stream}, read {manifest.observed_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    for step, what, message in case.there:
        out.say(f"  there: {step} {what}: {message}")
    _say_findings(found.findings, out)
    models = [node for node in found.nodes if node.kind == "model" and not node.skipped]
    if found.nodes:
        out.say(f"{len(models)} models built, {sum(node.kind == 'test' for node in found.nodes)} data tests")
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in found.seconds.items())
    out.say(f"{found.total:.1f} s in all ({steps}); goal: {GOAL_SECONDS} s")


def _say_findings(findings: Sequence[Finding], out: Output) -> None:
    if not findings:
        out.say("nothing failed")
    for one in findings:
        what = f"record {one.what}" if one.step == "quarantine" else one.what
        out.say(f"FAILED {one.step} {what}: {one.message}")


def _document(found: Reproduction) -> dict[str, Any]:
    return {
        "block": found.case.block_id,
        "there": [dict(zip(("step", "what", "message"), one, strict=True)) for one in found.case.there],
        "findings": [{"step": f.step, "what": f.what, "message": f.message} for f in found.findings],
        "models": [node.name for node in found.nodes if node.kind == "model" and not node.skipped],
        "tests": sum(node.kind == "test" for node in found.nodes),
        "seconds": {step: round(seconds, 2) for step, seconds in found.seconds.items()},
        "total_seconds": round(found.total, 2),
        "home": str(found.place.home),
    }


def _write_test(found: Reproduction, folder: Path, models: Sequence[str], load_only: bool, out: Output) -> None:
    from orchestration.reproduce_shard import discard
    from orchestration.reproduce_test import write_test
    from sharding.settings import project_root

    project = _builder()  # parsed once for all attempts

    def again(case: Path, build: Sequence[str]) -> list[Finding]:
        other = _reproduce(case, None if load_only or not build else lambda: project, build)
        discard(other.place)
        return other.findings

    written = write_test(found, folder, project_root() / "tests" / "regressions", models, again)
    out.say(f"{written.test}: {written.records} records, {written.masked} values masked; they still fail so")
    out.say(f"next: pytest {written.test}")


def _shell(place: Throwaway) -> None:
    """psql where it is installed; else a prompt of one query a line."""
    from orchestration.reproduce_shard import psql_command

    command = psql_command(place)
    if shutil.which(command[0]):
        subprocess.run(command, check=False, env={**os.environ, "LARDER_HOME": str(place.home)})
        return
    from sharding.query import read_only

    out = Output()
    out.say("no psql here; one read-only query a line, an empty line ends")
    while query := input(f"{place.shard.database}=> ").strip():
        try:
            result = read_only(place.shard, query)
        except LarderError as error:
            out.say(str(error))
        else:
            out.table([dict(zip(result.columns, row, strict=True)) for row in result.rows], empty="no rows")


def _end(place: Throwaway, keep: bool, out: Output) -> None:
    from orchestration.reproduce_shard import discard, psql_command

    if not keep:
        discard(place)
        return
    out.say(f"kept; look around: {' '.join(psql_command(place))}")
    out.say(f"  or any command: LARDER_HOME={place.home} larder sql --shard {place.shard.name} '…'")
    out.say(f"  remove it: LARDER_HOME={place.home} larder clean --yes")
