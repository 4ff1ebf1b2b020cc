"""Moves of several businesses: `business move --all-from`, `shard split` and `shard rebalance`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import get_context
from cli.output import JsonFlag, Output
from sharding.errors import LarderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sharding.moving.balance import Step

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be moved, and why.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
KeepDays = Annotated[float, typer.Option(min=0, help="How long the ways back are kept.")]


def all_from(shard: str, to: str | None, dry_run: bool, keep_days: float, json: bool) -> None:
    """Move every business of a shard, to one shard or to where there is most room."""
    from orchestration.many_moves import plan_emptying

    steps = plan_emptying(get_context().catalogue, shard, to)
    _carry_out(
        Output(json), steps, dry_run, True, keep_days, f"{shard} is empty", f"larder business move --all-from {shard}"
    )


def split(
    name: Annotated[str, typer.Argument(help="The shard that is to have half of its businesses.")],
    to: Annotated[
        str | None, typer.Option(help="Where the others go; default: the open shard with least load.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    keep_days: KeepDays = 7,
    json: JsonFlag = False,
) -> None:
    """Move half of a shard's businesses, by load, to another one. Killed, it goes on with the same half."""
    from orchestration.many_moves import left_over, plan_split

    catalogue = get_context().catalogue
    steps = left_over(catalogue, name) or plan_split(catalogue, name, to)
    _carry_out(Output(json), steps, dry_run, yes, keep_days, "nothing to move", "larder business moves")


def rebalance(dry_run: DryRun = False, yes: Yes = False, keep_days: KeepDays = 7, json: JsonFlag = False) -> None:
    """Move businesses between the open shards until these are about equally heavy, by size and load."""
    from orchestration.many_moves import left_over, plan_balance

    catalogue = get_context().catalogue
    steps = left_over(catalogue) or plan_balance(catalogue)
    _carry_out(
        Output(json), steps, dry_run, yes, keep_days, "the shards are balanced", "larder shard rebalance --dry-run"
    )


def _carry_out(
    out: Output, steps: Sequence[Step], dry_run: bool, yes: bool, keep_days: float, nothing: str, again: str
) -> None:
    from orchestration.cycle import Installation
    from orchestration.many_moves import move_all

    told = [{**asdict(step), "megabytes": round(step.bytes / 2**20, 1)} for step in steps]
    columns = ("name", "from_shard", "to_shard", "megabytes", "records_a_day", "why")
    if dry_run or not steps:
        if out.json:
            out.document(told)
        else:
            out.table(told, empty=nothing, columns=columns)
        return
    if not out.json:
        out.table(told, columns=columns)
    if not yes:
        typer.confirm(f"move {len(steps)} businesses?", abort=True, err=True)
    context = get_context()
    at = Installation.of(context.settings, context.catalogue)
    staying = move_all(at, steps, out.say, timedelta(days=keep_days))
    if out.json:
        out.document({"moved": [s for s in told if s["name"] not in {step.name for step, _ in staying}],
                      "staying": [{"name": step.name, "why": why} for step, why in staying]})  # fmt: skip
    if staying:
        raise LarderError("; ".join(f"{step.name} stays: {why}" for step, why in staying), "you", again)
    out.say(f"{len(steps)} businesses moved; the ways back are kept for {keep_days:g} days")
