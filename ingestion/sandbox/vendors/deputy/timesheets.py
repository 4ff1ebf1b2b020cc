"""How Deputy writes the rota and timesheets: seconds since 1970 beside local times, `""` for no object."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from ingestion.sandbox.rota import Punch, Seen, seen
from ingestion.sandbox.staff import Person
from ingestion.sandbox.trade import local
from ingestion.sandbox.vendors.deputy.install import (
    FIRST_LEAVE,
    FIRST_ROSTER,
    FIRST_TIMESHEET,
    Agreement,
    Install,
    Leave,
    area_of,
)
from ingestion.sandbox.vendors.deputy.records import Record, area, local_day, stamp, who

MEAL = timedelta(minutes=30)
"""What is taken off for a meal, however long it was."""
ON_COSTS = Decimal("1.22")
"""Social contribution on top of pay."""
WEEKEND = Decimal("1.25")
"""Deputy's own pay rule for Saturdays and Sundays."""
PLANNED_AHEAD = timedelta(days=7)


def timesheet(install: Install, punch: Punch, n: int, now: datetime) -> Record:
    """Hours worked, as they are at `now`; `n` counts the punches."""
    zone, as_seen = install.zone, seen(punch, now)
    meals = [(rest, end) for _, rest, end in as_seen.breaks if not rest.paid and not rest.deleted]
    rests = [(rest, end) for _, rest, end in as_seen.breaks if rest.paid]
    taken = MEAL * sum(end is not None for _, end in meals)
    slots = [_slot(rest.start, rest.start + MEAL, punch.clocked_in, "M") for rest, end in meals if end]
    slots += [_slot(rest.start, end, punch.clocked_in, "R") for rest, end in rests if end]
    punched: dict[str, str] = {}
    for rest, end in meals:
        punched[_epoch_text(rest.start)] = "OUT"
        if end:
            punched[_epoch_text(end)] = "IN"
    terms = install.agreement(punch.person, punch.clocked_in.astimezone(zone).date())
    worked = (as_seen.clocked_out - punch.clocked_in - taken) if as_seen.clocked_out else timedelta(0)
    hours = (Decimal(int(worked.total_seconds())) / 3600).quantize(Decimal("0.01"), ROUND_HALF_UP)
    cost = _cost(hours, terms, punch.clocked_in.astimezone(zone))
    return _sheet(
        install,
        punch.person,
        {
            "Id": FIRST_TIMESHEET + n,
            "EmployeeAgreement": terms.number if terms else None,
            "Date": local_day(punch.clocked_in.astimezone(zone).date(), zone),
            "StartTime": int(punch.clocked_in.timestamp()),
            "EndTime": int(as_seen.clocked_out.timestamp()) if as_seen.clocked_out else (None if n % 2 else 0),
            "Mealbreak": _duration(taken, punch.clocked_in.astimezone(zone).date(), zone),
            "MealbreakSlots": punched or "",
            "Slots": slots,
            "TotalTime": hours,
            "TotalTimeInv": hours,
            "Cost": cost,
            "Roster": FIRST_ROSTER + n,
            "SupervisorComment": as_seen.note or None,
            "TimeApproved": as_seen.approved,
            "TimeApprover": 1 if as_seen.approved else None,
            "Discarded": True if as_seen.deleted else None,
            "OperationalUnit": area_of(punch),
            "IsInProgress": as_seen.clocked_out is None,
            "IsLeave": False,
            "LeaveId": None,
            "Created": stamp(punch.clocked_in, zone),
            "Modified": stamp(as_seen.modified, zone),
            "OnCost": (cost * ON_COSTS).quantize(Decimal("0.01"), ROUND_HALF_UP),
            "StartTimeLocalized": stamp(punch.clocked_in, zone),
            "EndTimeLocalized": _ended(as_seen, zone),
        },
        now,
    )


def leave(install: Install, taken: Leave, n: int, now: datetime) -> Record:
    """A day of paid leave, which Deputy keeps as a timesheet of eight hours."""
    zone = install.zone
    start = local(taken.day, 9 * 60, zone)
    end = start + timedelta(hours=8)
    terms = install.agreement(taken.person, taken.day)
    hours = Decimal("8.00")
    cost = _cost(hours, terms, start)
    return _sheet(
        install,
        taken.person,
        {
            "Id": FIRST_LEAVE + n,
            "EmployeeAgreement": terms.number if terms else None,
            "Date": local_day(taken.day, zone),
            "StartTime": int(start.timestamp()),
            "EndTime": int(end.timestamp()),
            "Mealbreak": _duration(timedelta(0), taken.day, zone),
            "MealbreakSlots": "",
            "Slots": [],
            "TotalTime": hours,
            "TotalTimeInv": hours,
            "Cost": cost,
            "Roster": None,
            "SupervisorComment": None,
            "TimeApproved": True,
            "TimeApprover": 1,
            "Discarded": None,
            "OperationalUnit": 1,
            "IsInProgress": False,
            "IsLeave": True,
            "LeaveId": n,
            "Created": stamp(start - PLANNED_AHEAD, zone),
            "Modified": stamp(start - PLANNED_AHEAD, zone),
            "OnCost": cost,
            "StartTimeLocalized": stamp(start, zone),
            "EndTimeLocalized": stamp(end, zone),
        },
        now,
    )


def roster(install: Install, punch: Punch, n: int) -> Record:
    """What was planned for a punch, a week ahead, by the quarter of an hour."""
    zone = install.zone
    corrected = punch.correction.clocked_out if punch.correction else punch.clocked_out
    start, end = _quarter(punch.clocked_in), _quarter(corrected)
    planned = start - PLANNED_AHEAD
    return {
        "Id": FIRST_ROSTER + n,
        "Date": local_day(start.astimezone(zone).date(), zone),
        "StartTime": int(start.timestamp()),
        "EndTime": int(end.timestamp()),
        "Mealbreak": _duration(MEAL, start.astimezone(zone).date(), zone),
        "Slots": [],
        "TotalTime": Decimal(int((end - start - MEAL).total_seconds())) / 3600,
        "Cost": 0,
        "OperationalUnit": area_of(punch),
        "Employee": punch.person.number,
        "Comment": "",
        "Warning": "",
        "WarningOverrideComment": "",
        "Published": True,
        "MatchedByTimesheet": 0,
        "Open": False,
        "ConfirmStatus": 0,
        "ConfirmComment": "",
        "ConfirmBy": 0,
        "ConfirmTime": 0,
        "SwapStatus": 0,
        "SwapManageBy": None,
        "ConnectStatus": None,
        "Creator": 1,
        "Created": stamp(planned, zone),
        "Modified": stamp(planned, zone),
        "OnCost": 0,
        "StartTimeLocalized": stamp(start, zone),
        "EndTimeLocalized": stamp(end, zone),
        "ExternalId": None,
        "ConnectCreator": None,
    }


def _sheet(install: Install, person: Person, own: Record, now: datetime) -> Record:
    number, zone = person.number, install.zone
    place = area(own["OperationalUnit"], zone)
    return {
        "Id": own["Id"],
        "Employee": number,
        "EmployeeHistory": number + 2500,
        "EmployeeComment": None,
        "Supervisor": None,
        "Disputed": False,
        "ValidationFlag": 0,
        "LeaveRule": None,
        "Invoiced": False,
        "InvoiceComment": None,
        "PayRuleApproved": own["TimeApproved"],
        "Exported": None,
        "StagingId": None,
        "PayStaged": own["TimeApproved"],
        "PaycycleId": 1,
        "File": None,
        "CustomFieldData": None,
        "RealTime": True,
        "AutoProcessed": True,
        "AutoRounded": False,
        "AutoTimeApproved": False,
        "AutoPayRuleApproved": own["TimeApproved"],
        "Creator": number,
        **own,
        "OperationalUnitObject": place,
        "_DPMetaData": {
            "System": "Timesheet",
            "CreatorInfo": who(person, now),
            "OperationalUnitInfo": {
                "Id": place["Id"],
                "OperationalUnitName": place["OperationalUnitName"],
                "Company": place["Company"],
                "CompanyName": place["CompanyName"],
                "LabelWithCompany": f"[{place['CompanyCode']}] {place['OperationalUnitName']}",
            },
            "EmployeeInfo": who(person, now),
            "CustomFieldData": None,
        },
    }


def _slot(start: datetime, end: datetime, began: datetime, kind: str) -> Record:
    return {
        "blnEmptySlot": False,
        "strType": "B",
        "intStart": int((start - began).total_seconds()),
        "intEnd": int((end - began).total_seconds()),
        "intUnixStart": int(start.timestamp()),
        "intUnixEnd": int(end.timestamp()),
        "mixedActivity": {
            "intState": 4,
            "blnCanStartEarly": 1,
            "blnCanEndEarly": 1,
            "blnIsMandatory": int(kind == "M"),
            "strBreakType": kind,
        },
        "strTypeName": "Meal Break" if kind == "M" else "Rest Break",
        "strState": "Finished Duration",
    }


def _cost(hours: Decimal, terms: Agreement | None, began: datetime) -> Decimal:
    """What Deputy's pay rules make of the hours: the rate, with a premium on Saturdays and Sundays."""
    if terms is None or terms.wage is None or terms.wage.kind != "hourly":
        return Decimal(0)
    premium = WEEKEND if began.weekday() >= 5 else Decimal(1)
    return (hours * terms.wage.cents / 100 * premium).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _ended(as_seen: Seen, zone: ZoneInfo) -> str | None:
    return stamp(as_seen.clocked_out, zone) if as_seen.clocked_out else None


def _duration(length: timedelta, day: date, zone: ZoneInfo) -> str:
    """A length of time as Deputy writes it: a time of day."""
    return datetime.combine(day, (datetime.min + length).time(), zone).isoformat(timespec="seconds")


def _epoch_text(at: datetime) -> str:
    return str(int(at.timestamp()))


def _quarter(at: datetime) -> datetime:
    seconds = int(at.timestamp())
    return at + timedelta(seconds=(450 + seconds) // 900 * 900 - seconds)
