"""Bad days of a vendor, switched on by tests: over HTTP at `/_sandbox/faults`, or in `<home>/sandbox/faults.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from ingestion.sandbox.http import Answer, Fault
from ingestion.sandbox.state import read, write

RAW = "$raw"
"""`{"$raw": "1e200000"}` stands for text that is put into the JSON as it is."""


class ClosedConnection(Exception):
    """The vendor hangs up, after `said` bytes of its answer."""

    def __init__(self, answer: Answer | None = None, said: int = 0) -> None:
        super().__init__("the vendor hangs up")
        self.answer, self.said = answer, said


@dataclass(frozen=True)
class Trouble:
    """A fault, the beginning of the paths it strikes, and how the first record of a page is spoiled.

    `spoil` maps dotted places in the record (`line_items.0.uid`) to what is put there; None takes the member out.
    """

    fault: Fault
    path: str = ""
    spoil: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Trouble:
        """From `{"fault": …, "path": …, "with": {…}}`; ValueError where it makes no sense."""
        if value.get("fault") not in get_args(Fault):
            raise ValueError(f"fault is one of {', '.join(get_args(Fault))}, not {value.get('fault')!r}")
        return cls(value["fault"], value.get("path", ""), value.get("with", {}))


def trouble_of(file: Path, vendor: str, path: str) -> Trouble | None:
    """What is wrong with a vendor at a path, if anything."""
    found = read(file).get(vendor)
    trouble = Trouble.parse(found) if found else None
    return trouble if trouble and path.startswith(trouble.path) else None


def switch(file: Path, vendor: str, trouble: Trouble | None) -> None:
    """Give a vendor a fault, or heal it."""
    others = {name: value for name, value in read(file).items() if name != vendor}
    if trouble:
        others[vendor] = {"fault": trouble.fault, "path": trouble.path, "with": trouble.spoil}
    write(file, others)


def disturbed(answer: Answer, trouble: Trouble) -> Answer:
    """A good answer as the fault makes it.

    Raises:
        ClosedConnection: the vendor hangs up in the middle.
    """
    if trouble.fault == "malformed":
        return replace(answer, body=b"<html><body>Bad Gateway</body></html>")
    if trouble.fault == "truncated":
        raise ClosedConnection(answer, len(answer.body) // 2)
    if trouble.fault == "spoiled":
        return replace(answer, body=_spoiled(answer.body, trouble.spoil))
    return answer


def _spoiled(body: bytes, spoil: Mapping[str, Any]) -> bytes:
    document = json.loads(body)
    lists = [document] if isinstance(document, list) else [v for v in document.values() if isinstance(v, list)]
    record = next((found[0] for found in lists if found and isinstance(found[0], dict)), None)
    if record is None:
        return body
    raw: dict[str, str] = {}
    for place, value in spoil.items():
        *parents, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        holder: Any = record
        for part in parents:
            holder = holder[part]
        if value is None:
            holder.pop(last, None)
        elif isinstance(value, Mapping) and RAW in value:
            mark = f"\x01{len(raw)}\x01"
            raw[json.dumps(mark)] = value[RAW]
            holder[last] = mark
        else:
            holder[last] = value
    text = json.dumps(document, separators=(",", ":"))
    for mark, written in raw.items():
        text = text.replace(mark, written)
    return text.encode()
