"""How 7shifts writes a punch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ingestion.sandbox.rota import Punch, seen


def record(punch: Punch, number: int, company: int, location: int, now: datetime) -> Mapping[str, object]:
    """The punch as the API shows it at `now`."""
    as_seen = seen(punch, now)
    return {
        "id": number,
        "company_id": company,
        "shift_id": number - 40000000,
        "user_id": punch.person.number,
        "editable_punch": not as_seen.approved,
        "role_id": punch.role,
        "location_id": location,
        "department_id": location + 4000,
        "hourly_wage": punch.wage,
        "approved": as_seen.approved,
        "clocked_in": stamp(punch.clocked_in),
        "clocked_out": stamp(as_seen.clocked_out) if as_seen.clocked_out else None,
        "notes": as_seen.note,
        "auto_clocked_out": as_seen.automatic,
        "clocked_in_offline": False,
        "clocked_out_offline": False,
        "tips": 0,
        "created": stamp(punch.clocked_in),
        "modified": stamp(as_seen.modified),
        "deleted": as_seen.deleted,
        "pos_type": "web",
        "breaks": [
            {
                "id": number * 10 + n,
                "user_id": punch.person.number,
                "custom_break_id": 0,
                "paid": rest.paid,
                "in": stamp(rest.start),
                "out": stamp(end) if end else None,
                "deleted": rest.deleted,
            }
            for n, rest, end in as_seen.breaks
        ],
    }


def stamp(at: datetime) -> str:
    """A time as 7shifts writes it: UTC with `+00:00`."""
    return at.astimezone(UTC).isoformat(timespec="seconds")
