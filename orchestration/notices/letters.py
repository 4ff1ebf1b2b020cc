"""The words of a letter: what failed, for whom, why, of what class, what reproduces it, where Dagster shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestration.notices.causes import OUTSIDE
from orchestration.notices.classes import MEANING

SHOWN = 5  # of the affected, and of the causes where a letter has many
Row = Mapping[str, Any]
Told = tuple[Row, Sequence[Row]]  # a cause, and whom it affects

_STEPS = {
    "extract": "extract", "load": "load", "quarantine": "quarantine", "shard": "shard", "model": "model",
    "test": "data test", "fresh": "freshness", "slow": "requests", "reconcile": "reconciliation", "export": "export",
    "run": "Dagster run",
}  # fmt: skip
_OF = {
    "extract": "source",
    "load": "source",
    "quarantine": "source",
    "fresh": "source",
    "slow": "reader",
    "reconcile": "business",
    "export": "business",
    "run": "job",
}


def subject(told: Sequence[Told], healed: bool) -> str:
    """The subject line."""
    first, affected = told[0]
    if len(told) > 1:
        what = f"{len(told)} causes of class “{first['class']}” ({_STEPS[first['step']]})"
    else:
        what = headline(first, affected)
    return f"Larder: healed: {what}" if healed else f"Larder: {what}"


def headline(notice: Row, affected: Sequence[Row]) -> str:
    """A cause in a few words."""
    whom = _whom(notice, affected)
    match notice["step"], notice["class"]:
        case _, "vendor down":
            return f"{notice['subject']} is down, for {whom}"
        case _, "database down":
            return f"database does not answer: {whom}"
        case "extract", "credentials":
            return f"{notice['subject']} refuses credentials of {whom}"
        case "extract" | "load" as step, kind:
            return f"{step} of {notice['subject']} fails for {whom} ({kind})"
        case "quarantine", kind:
            return f"{_records(affected)} of {notice['subject']} set aside, for {whom} ({kind})"
        case "shard", kind:
            return f"{whom} fails ({kind})"
        case "model" | "test", _:
            return f"{_STEPS[notice['step']]} {notice['subject']} fails on {whom}"
        case "fresh", _:
            return f"{notice['subject']} is late for {whom}"
        case "slow", _:
            return f"requests of {whom} on {notice['subject']} take longer than expected"
        case "export", kind:
            return f"export of {whom} to files fails ({kind})"
        case "reconcile", _:
            return f"numbers of {whom} do not equal the receipts"
    return (
        f"{notice['subject']} failed"
        if notice["subject"] == OUTSIDE
        else f"Dagster's run of {notice['subject']} failed"
    )


def body(told: Sequence[Told], healed: bool, link: Callable[[str | None], str]) -> str:
    """The text. `link`: where Dagster shows a run."""
    parts = [_healed(*one) if healed else _failed(*one, link) for one in told[: SHOWN if len(told) > 1 else 1]]
    if len(told) > len(parts):
        numbers = " ".join(str(notice["notice"]) for notice, _ in told[len(parts) :][:20])
        parts.append(f"and {len(told) - len(parts)} more: larder notices show {numbers}")
    if not healed:
        parts.append("This is told once. The next letter comes when it is over.")
    return "\n\n".join(parts) + "\n"


def _failed(notice: Row, affected: Sequence[Row], link: Callable[[str | None], str]) -> str:
    parts = sorted({part for row in affected for part in row["parts"] or ()})
    lines = [
        ("what", f"{_STEPS[notice['step']]}: {notice['subject'] or affected[0]['who']}"
                 + (f", {_several(parts)}" if parts else "")),
        ("for whom", _list([_named(row) for row in affected])),
        ("records", f"{_records(affected)} in quarantine; what stood beside them is loaded"
                    if notice["reason"] else ""),
        ("cause", (notice["cause"] or "it did not say") + (f" ({notice['reason']})" if notice["reason"] else "")),
        ("class", f"{notice['class']}: {MEANING[notice['class']]}"),
        ("since", f"{_moment(notice['first_seen'])}, met by {notice['seen']} {_plural('cycle', notice['seen'])}"),
        ("reproduce", notice["command"]),
        *(_looks(affected) if notice["reason"] else ()),
        ("run", link(notice["run_id"])),
        ("all of it", f"larder notices show {notice['notice']}"),
    ]  # fmt: skip
    return f"{headline(notice, affected)}\n\n" + "\n".join(
        f"  {name:<10} {text.replace(chr(10), chr(10) + ' ' * 13)}" for name, text in lines if text
    )


def _looks(affected: Sequence[Row]) -> list[tuple[str, str]]:
    """How records that were set aside are looked at, and what can be done with them."""
    of = f" --source {affected[0]['who']}" if len(affected) == 1 else ""
    ways = [f"after a fix here: larder quarantine retry{of}",
            "sent anew by the vendor under its key: nothing, it is over by itself",
            "wrong for good: larder quarantine discard ID --reason WHY"]  # fmt: skip
    return [("look", f"larder quarantine list{of}"), ("then", "\n".join(ways))]


def _records(affected: Sequence[Row]) -> str:
    number = sum(row["records"] or 0 for row in affected)
    return f"{number:,} {_plural('record', number)}"


def _healed(notice: Row, affected: Sequence[Row]) -> str:
    ends: dict[str, list[str]] = {}
    for row in affected:
        ends.setdefault(row["ended"] or "healed", []).append(_named(row))
    said = {
        "healed": "well again", "another cause": "fails otherwise now", "paused": "paused",
        "closed": "closed by a person", "given up": "given up by a person",
    }  # fmt: skip
    lines = [
        ("was", notice["cause"]),
        *((said[end], _list(named)) for end, named in ends.items()),
        ("lasted", f"{_moment(notice['first_seen'])} to {_moment(notice['healed_at'])}, met by {notice['seen']}"
                   f" {_plural('cycle', notice['seen'])}"),
        ("all of it", f"larder notices show {notice['notice']}"),
    ]  # fmt: skip
    wide = max(len(name) for name, _ in lines)
    return f"Over: {headline(notice, affected)}\n\n" + "\n".join(
        f"  {name:<{wide}}  {text.replace(chr(10), chr(10) + ' ' * (wide + 4))}" for name, text in lines
    )


def _whom(notice: Row, affected: Sequence[Row]) -> str:
    if len(affected) == 1:
        return str(affected[0]["who"])
    return f"{len(affected)} {_plural(_OF.get(notice['step'], 'shard'), len(affected))}"


def _named(row: Row) -> str:
    if row["display_name"]:
        return f"{row['who']} ({row['display_name']}, {row['shard']})"
    if row["residents"]:
        more = row["residents"] - len(row["some_residents"])
        return f"{row['who']} ({', '.join(row['some_residents'])}{f' and {more} more' if more > 0 else ''})"
    return str(row["who"])


def _list(named: Sequence[str]) -> str:
    more = len(named) - SHOWN
    return "\n".join([*named[:SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _several(parts: Sequence[str]) -> str:
    return ", ".join(parts[:SHOWN]) + (f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else "")


def _plural(word: str, number: int) -> str:
    if number == 1:
        return word
    return f"{word}es" if word.endswith("s") else f"{word}s"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M %Z}"
