"""Team members and timecards: what Square's labor endpoints list, minutes only, on the clock of the location."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.sandbox.rota import Punch, rota, seen, shop
from ingestion.sandbox.staff import BAR, CLEANING, CREW, LEAD, MANAGER, Hiring, Person, Wage
from ingestion.sandbox.trade import Site
from ingestion.sandbox.vendors.square.orders import location_id, stamp
from ingestion.sandbox.vendors.square.sale import token

JOBS = {CREW: "Crew", LEAD: "Shift lead", BAR: "Bartender", MANAGER: "Manager", CLEANING: "Cleaner"}
CAPACITY = 70
"""Orders that one of the crew handles in half a day."""
LAST_RISE = timedelta(days=10)
Record = dict[str, Any]


@dataclass(frozen=True)
class Labor:
    """The staff of one seller, and every timecard of the story."""

    sites: Mapping[str, Site]
    people: Sequence[Person]
    punches: Sequence[Punch]
    opened: date

    def team_members(self, now: datetime) -> list[Record]:
        """Everybody with their jobs and present pay."""
        return [self._member(person, now) for person in self.people if person.listed]

    def timecards(self, now: datetime) -> list[Record]:
        """Every timecard as it is at `now`. One that was deleted is not there any more, and nothing tells."""
        cards = []
        for n, punch in enumerate(self.punches):
            if punch.clocked_in > now:
                break
            card = self._timecard(punch, n, now)
            if card is not None:
                cards.append(card)
        return cards

    def _member(self, person: Person, now: datetime) -> Record:
        created = _instant(self.opened)
        known = [w for w in person.wages if datetime.fromisoformat(w.recorded) <= now and w.effective <= now.date()]
        present = {wage.role: wage for wage in sorted(known, key=lambda w: w.effective)}
        jobs = [_job(role or _usual(person), wage) for role, wage in present.items()]
        changed = max([created, *(_instant(w.effective) for w in known)])
        record = {
            "id": member_id(person),
            "reference_id": person.payroll,
            "is_owner": False,
            "status": "ACTIVE",
            "given_name": person.first,
            "family_name": person.last,
            "email_address": person.email,
            "created_at": stamp(created),
            "updated_at": stamp(changed),
            "assigned_locations": {
                "assignment_type": "EXPLICIT_LOCATIONS",
                "location_ids": [location_id(name) for name in person.sites],
            },
            "wage_setting": {
                "team_member_id": member_id(person),
                "job_assignments": jobs,
                "is_overtime_exempt": person.kind == "manager",
                "version": len(known) + 1,
                "created_at": stamp(created),
                "updated_at": stamp(changed),
            },
        }
        return {key: value for key, value in record.items() if value not in ("", [])}

    def _timecard(self, punch: Punch, n: int, now: datetime) -> Record | None:
        as_seen, site = seen(punch, now), self.sites[punch.site]
        if as_seen.deleted:
            return None
        card = {
            "id": token("timecard", f"{punch.person.number} {n}")[:16].upper(),
            "location_id": location_id(punch.site),
            "timezone": site.timezone,
            "start_at": _minute(punch.clocked_in, site.zone),
            "end_at": _minute(as_seen.clocked_out, site.zone) if as_seen.clocked_out else None,
            "wage": {
                "title": JOBS[punch.role],
                "hourly_rate": {"amount": _rate(punch), "currency": "USD"},
                "job_id": job_id(punch.role),
                "tip_eligible": punch.role in (CREW, BAR),
            },
            "breaks": [
                {
                    "id": token("break", f"{punch.person.number} {n} {k}")[:13].upper(),
                    "start_at": _minute(rest.start, site.zone),
                    "end_at": _minute(end, site.zone) if end else None,
                    "break_type_id": token("break type", str(rest.paid))[:13].upper(),
                    "name": "Coffee break" if rest.paid else "Meal",
                    "expected_duration": "PT10M" if rest.paid else "PT30M",
                    "is_paid": rest.paid,
                }
                for k, rest, end in as_seen.breaks
                if not rest.deleted
            ],
            "status": "CLOSED" if as_seen.clocked_out else "OPEN",
            "version": 1 + len(as_seen.breaks) + bool(as_seen.clocked_out) + as_seen.approved,
            "created_at": stamp(punch.clocked_in),
            "updated_at": stamp(as_seen.modified),
            "team_member_id": member_id(punch.person),
            "declared_cash_tip_money": {"amount": 0, "currency": "USD"},
        }
        return {key: value for key, value in card.items() if value is not None}


def labor(site: Site) -> Labor:
    """A seller's staff at one site, from its trade."""
    days = sorted(site.orders)
    third = days[0] + (days[-1] - days[0]) / 3
    people = _people(site.name, days[0] - timedelta(days=365), third, days[-1] - LAST_RISE)
    return Labor({site.name: site}, people, rota([site], people, shop(CAPACITY)), days[0] - timedelta(days=365))


def member_id(person: Person) -> str:
    """The id of a team member."""
    return f"TM{token('team member', f'{person.first} {person.last} {person.number}')[:14]}"


def job_id(role: int) -> str:
    """The id of a job."""
    return token("job", JOBS[role])[:24]


def _people(site: str, opened: date, raised: date, again: date) -> tuple[Person, ...]:
    """One site's staff; a rise is on the timecards from its day on, and in the pay of the person."""
    here = (site,)
    h = Hiring(0, 0, "SQ", "timecards.example")
    h.hire("Ottilie", "Marchetti", here, (opened, "annual_salary", 5980000), kind="manager")
    h.hire("Ezra", "Lindholm", here, (opened, "hourly", 1625), (raised, "hourly", 1700), kind="asst_manager")
    h.hire("Priya", "Vandermeer", here, (opened, "hourly", 1550), (opened, "hourly", 1800, BAR))
    h.hire("Jonah", "Achebe", here, (opened, "hourly", 1525), (again, "hourly", 1575))
    h.hire("Lucia", "Sorensen", here, (opened, "hourly", 1500), (raised, "hourly", 1560))
    h.hire("Malik", "Trevino", here)
    h.hire("Greta", "Okonkwo", here, (opened, "hourly", 1575))
    return h.odd_ones(site, opened)


def _usual(person: Person) -> int:
    return {"manager": MANAGER, "asst_manager": LEAD}.get(person.kind, CREW)


def _job(role: int, wage: Wage) -> Record:
    """A job of somebody; of a salary Square works out what it is by the hour."""
    about = {"job_title": JOBS[role], "job_id": job_id(role)}
    if wage.kind == "annual_salary":
        by_hour = {"amount": wage.cents // (52 * 40), "currency": "USD"}
        annual = {"amount": wage.cents, "currency": "USD"}
        return {**about, "pay_type": "SALARY", "hourly_rate": by_hour, "annual_rate": annual, "weekly_hours": 40}
    return {**about, "pay_type": "HOURLY", "hourly_rate": {"amount": wage.cents, "currency": "USD"}}


def _rate(punch: Punch) -> int:
    """The rate on a timecard: what the job paid then; of a salary what it is by the hour; 0 where no wage was set."""
    annual = next((w.cents for w in punch.person.wages if w.kind == "annual_salary"), None)
    return annual // (52 * 40) if annual else punch.wage


def _instant(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def _minute(at: datetime, zone: ZoneInfo) -> str:
    """A time as timecards have it: seconds cut off, on the location's clock."""
    return at.astimezone(zone).replace(second=0, microsecond=0).isoformat(timespec="seconds")
