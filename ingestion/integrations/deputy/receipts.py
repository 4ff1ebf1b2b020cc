"""What the timesheets of Deputy add up to, for reconciliation.

Read from Deputy's definitions of timesheets and agreements alone; shares nothing with staging or the marts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from reconcile.hours import DAY_START, cost, hours_by_date
from reconcile.model import Amount, Record, Sites
from reconcile.reader import EPOCH

Break = tuple[datetime, datetime | None]


def receipts(records: Mapping[str, Sequence[Record]], sites: Sites, now: datetime) -> Iterator[Amount]:
    """Shifts, hours worked and what they cost at the rates of their agreements before any premium, by business date.

    `Cost` is not read: it has the premiums of Deputy's pay rules in it. Amounts are in the business's own currency.
    """
    zones = {str(company["Id"]): company["_context"]["time_zone"] or "UTC" for company in records.get("companies", ())}
    agreements = {str(agreement["Id"]): agreement for agreement in records.get("employee_agreements", ())}
    salaried_since: dict[str, date] = {}
    for agreement in agreements.values():
        if agreement.get("AnnualSalary"):
            person, since = str(agreement["EmployeeId"]), _effective(agreement)
            salaried_since[person] = min(since, salaried_since.get(person, since))
    totals: dict[tuple[date, str, str], Decimal] = defaultdict(Decimal)
    for sheet in records.get("timesheets", ()):
        if sheet.get("Discarded") or sheet.get("IsLeave"):
            continue
        unit = sheet.get("OperationalUnitObject") or sheet["_DPMetaData"]["OperationalUnitInfo"]
        site = str(unit["Company"])

        def date_of(at: datetime, site: str = site) -> date:
            return sites.business_date(site, at, zones.get(site, "UTC"), DAY_START)

        began = _epoch(sheet["StartTime"])
        ended = None if sheet.get("IsInProgress") or not sheet.get("EndTime") else _epoch(sheet["EndTime"])
        totals[date_of(began), "", "shift_count"] += 1
        agreement = agreements.get(str(sheet.get("EmployeeAgreement")), {})
        rate = Decimal(0) if agreement.get("AnnualSalary") else Decimal(agreement.get("BaseRate") or 0)
        for day, hours in hours_by_date(began, ended, _unpaid(sheet, began, ended), now, date_of).items():
            totals[day, "", "hours"] += hours
            if rate and _effective(agreement) <= day:
                totals[day, "", "costed_hours"] += hours
                totals[day, sites.currency, "base_cost"] += cost(hours, rate)
            elif salaried_since.get(str(sheet["Employee"]), date.max) <= day:
                totals[day, "", "costed_hours"] += hours
    for (day, currency, measure), amount in totals.items():
        yield Amount(day, currency, measure, amount)


def _unpaid(sheet: Record, began: datetime, ended: datetime | None) -> list[Break]:
    """The meal break, as long as `Mealbreak` says, where its slot or else its first punch is, and one that lasts."""
    length = time.fromisoformat((sheet.get("Mealbreak") or "T00:00:00").partition("T")[2][:8])
    pause = timedelta(hours=length.hour, minutes=length.minute, seconds=length.second)
    slots = sheet["Slots"] if isinstance(sheet.get("Slots"), list) else []
    meals = [
        int(slot["intUnixStart"])
        for slot in slots
        if slot["strType"] == "B" and (slot.get("mixedActivity") or {}).get("strBreakType") == "M"
    ]
    punches = sheet["MealbreakSlots"] if isinstance(sheet.get("MealbreakSlots"), dict) else {}
    outs = [int(at) for at, direction in punches.items() if direction == "OUT"]
    starts = meals or outs
    begins = _epoch(min(starts)) if starts else began
    if ended is not None:
        begins = min(begins, ended - pause)
    begins = max(begins, began)
    unpaid: list[Break] = [(begins, begins + pause)] if pause else []
    if sheet.get("IsInProgress") and outs and max(map(int, punches)) == max(outs):
        unpaid.append((_epoch(max(outs)), None))
    return unpaid


def _effective(agreement: Record) -> date:
    """The first day of an agreement, written as the local midnight at which it begins."""
    written = agreement.get("EffectiveDate") or agreement.get("StartDate") or agreement["Created"]
    return date.fromisoformat(written[:10])


def _epoch(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=int(seconds))
