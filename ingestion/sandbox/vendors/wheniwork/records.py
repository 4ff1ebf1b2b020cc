"""How When I Work writes its records: RFC 2822 on the account's clock in version 2, ISO 8601 in version 3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.sandbox.rota import A_DAY, Punch, seen
from ingestion.sandbox.staff import Person
from ingestion.sandbox.trade import draw
from ingestion.sandbox.vendors.wheniwork.workplace import (
    ACCOUNT,
    FIRST_SHIFT,
    FIRST_TIME,
    LOCATION,
    SECOND_LOCATION,
    Workplace,
)

HOURLY, SALARIED = 1, 2
PAID, UNPAID = 1, 2
NOT_PUNCHED = 0.25
"""The share of breaks that somebody writes down afterwards: a length without times."""
PLANNED_AHEAD = timedelta(days=7)
Record = dict[str, Any]


def account(place: Workplace) -> Record:
    """The account."""
    return {
        "id": ACCOUNT,
        "master_id": 0,
        "type": 3,
        "logo": "",
        "company": "Pizza Place",
        "subdomain": "pizza-place",
        "enabled": True,
        "bad_credit_card": False,
        "plan_expires": rfc2822(datetime(2030, 1, 1, tzinfo=place.zone), place.zone),
        "features": '["all","locations"]',
        "timezone_id": "11",
        "timezone_name": place.site.timezone,
        "settings": "{}",
        "place": None,
    }


def locations(place: Workplace) -> list[Record]:
    """The site with its place, and a schedule without one: `""` in place of the object."""

    def location(number: int, name: str, where: object) -> Record:
        return {
            "id": number,
            "name": name,
            "address": "3 Lake Street, Chicago, IL 60601",
            "coordinates": ["41.8857", "-87.6228"],
            "created_at": rfc2822(datetime(2018, 8, 1, 9, tzinfo=place.zone), place.zone),
            "updated_at": "Wed, Aug 01 2018 09:00:00 -0500",  # written so, month first
            "place": where,
        }

    found = {
        "business_name": "Pizza Place",
        "address": "3 Lake Street, Chicago, IL 60601",
        "place_id": "synthetic",
        "place_type": "restaurant,establishment",
        "latitude": "41.8857",
        "longitude": "-87.6228",
    }
    return [location(LOCATION, "Lake Street", found), location(SECOND_LOCATION, "Catering", "")]


def user(place: Workplace, person: Person, now: datetime) -> Record:
    """A person with the base rate that holds now."""
    cents = person.hourly_wage(0, now.astimezone(place.zone).date())
    return {
        "id": person.number,
        "login_id": person.number + 900000,
        "account_id": ACCOUNT,
        "role": 2 if person.kind == "manager" else 3,
        "email": person.email,
        "first_name": person.first,
        "last_name": person.last,
        "phone_number": "",
        "employee_code": person.payroll,
        "activated": True,
        "notes": "Synthetic: an invented person",
        "hours_preferred": 40,
        "hours_max": 40,
        "hourly_rate": Decimal(cents) / 100,
        "type": SALARIED if person.kind == "manager" else HOURLY,
        "last_login": rfc2822(now, place.zone),
        "positions": [],
        "locations": [LOCATION],
        "is_deleted": person is place.deleted,
        "is_hidden": False,
        "is_payroll": False,
        "is_private": False,
        "is_trusted": False,
    }


def time(place: Workplace, punch: Punch, n: int, now: datetime) -> Record | None:
    """Hours worked, as they are at `now`; none once they were deleted. `n` counts the punches."""
    as_seen, zone = seen(punch, now), place.zone
    if as_seen.deleted:
        return None
    worked = as_seen.clocked_out - punch.clocked_in if as_seen.clocked_out else timedelta(0)
    return {
        "id": FIRST_TIME + n,
        "account_id": ACCOUNT,
        "user_id": punch.person.number,
        "creator_id": punch.person.number,
        "position_id": punch.role,
        "location_id": LOCATION,
        "site_id": 0,
        "shift_id": 0 if punch.deleted_at else FIRST_SHIFT + n,
        "start_time": rfc2822(punch.clocked_in, zone),
        "end_time": rfc2822(as_seen.clocked_out, zone) if as_seen.clocked_out else "",
        "notes": as_seen.note,
        "length": _hours(worked),
        "hourly_rate": Decimal(punch.wage) / 100,
        "is_alerted": as_seen.automatic,
        "alert_type": 16 if as_seen.automatic else 0,
        "is_approved": as_seen.approved,
        "modified_by": punch.person.number,
        "sync_id": "",
        "sync_hash": "",
        "updated_at": rfc2822(as_seen.modified, zone),
        "created_at": rfc2822(punch.clocked_in, zone),
    }


def breaks(punch: Punch, n: int, now: datetime) -> Iterator[tuple[datetime, datetime, Record]]:
    """The breaks of a time, each with when it began and ended; one recorded by mistake is gone the day after."""
    as_seen = seen(punch, now)
    if as_seen.deleted:
        return
    for k, rest, end in as_seen.breaks:
        if rest.deleted and now >= rest.end + A_DAY:
            continue
        punched = draw("punched", punch.person.number, rest.start) >= NOT_PUNCHED
        if not punched and end is None:
            continue  # written down afterwards
        number = (FIRST_TIME + n) * 10 + k
        record: Record = {
            "id": number,
            "timeId": FIRST_TIME + n,
            "creatorId": punch.person.number,
            "type": PAID if rest.paid else UNPAID,
            "length": int((end - rest.start).total_seconds()) // 60 if end else 0,
            "isPunched": punched,
            "isOrphaned": False,
            "scheduledBreakId": 0,
        }
        if punched:
            record["start"] = rest.start.isoformat(timespec="seconds")
            record["end"] = end.isoformat(timespec="seconds") if end else None
        yield rest.start, end or rest.start, record


def shift(place: Workplace, punch: Punch, n: int) -> Record | None:
    """What was planned for a punch, by the quarter of an hour; nobody plans a punch that was doubled."""
    if punch.deleted_at:
        return None
    zone = place.zone
    start = _quarter(punch.clocked_in)
    end = _quarter(punch.correction.clocked_out if punch.correction else punch.clocked_out)
    planned = rfc2822(start - PLANNED_AHEAD, zone)
    return {
        "id": FIRST_SHIFT + n,
        "account_id": ACCOUNT,
        "user_id": punch.person.number,
        "location_id": LOCATION,
        "position_id": punch.role,
        "site_id": 0,
        "start_time": rfc2822(start, zone),
        "end_time": rfc2822(end, zone),
        "break_time": Decimal("0.5") if end - start >= timedelta(hours=6) else 0,
        "color": "cc0000",
        "notes": "",
        "instances": 1,
        "published": True,
        "published_date": planned,
        "notified_at": None,
        "created_at": planned,
        "updated_at": planned,
        "acknowledged": 0,
        "acknowledged_at": "",
        "creator_id": punch.person.number,
        "is_open": None,
    }


def rfc2822(at: datetime, zone: ZoneInfo) -> str:
    """A time as version 2 writes it: on the account's clock, with its offset."""
    return format_datetime(at.astimezone(zone).replace(microsecond=0))


def _hours(length: timedelta) -> Decimal:
    return (Decimal(int(length.total_seconds())) / 3600).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _quarter(at: datetime) -> datetime:
    seconds = int(at.timestamp())
    return at + timedelta(seconds=(450 + seconds) // 900 * 900 - seconds)
