"""Every difference as a sentence, for people."""

from __future__ import annotations

from datetime import date

from reconcile.run import Reconciliation


def differences(result: Reconciliation, day: date | None = None) -> list[str]:
    """Every difference as a sentence naming source, date, measure and both sides."""
    said = []
    for s in result.sources:
        name = f"{result.business}/{s.source}"
        said += [f"{name}: {s.damage}"] if s.damage else []
        said += [f"{name}: raw {d.stream} {d.natural_key}: {d.problem}" for d in s.raw]
        said += [f"{name}: block {p.block_id} of {p.stream}: {p.problem}" for p in s.ledger]
        said += [
            f"{name} {d.cell.business_date} {d.cell.measure} {d.cell.currency}: receipts {d.blocks}, facts {d.facts}"
            for d in s.differences
            if day in (None, d.cell.business_date)
        ]
        said += [
            f"{name} {cell.business_date}: collected {collected} {cell.currency}, payments less refunds {paid}"
            for cell, collected, paid in s.identity
            if day in (None, cell.business_date)
        ]
    said += [
        f"{result.business} {d.cell.business_date} {d.cell.measure} {d.cell.currency}:"
        f" receipts {d.blocks}, summaries {d.summaries}"
        for d in result.summaries
        if day in (None, d.cell.business_date)
    ]
    return said
