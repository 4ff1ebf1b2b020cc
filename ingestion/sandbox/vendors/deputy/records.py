"""How Deputy writes sites, people and terms of work: local times with offset, joined objects inside."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from ingestion.sandbox.staff import Person
from ingestion.sandbox.vendors.deputy.install import AREAS, COMPANY, HEAD_OFFICE, Agreement, Install

Record = dict[str, Any]


def companies(install: Install) -> list[Record]:
    """The site, and the head office, which is no place of work."""
    zone = install.zone
    made = datetime(2023, 9, 1, 9, tzinfo=zone)

    def company(number: int, name: str, workplace: bool) -> Record:
        return {
            "Id": number,
            "Portfolio": 1,
            "Code": name[:3].upper(),
            "Active": True,
            "ParentCompany": None,
            "CompanyName": name,
            "TradingName": None,
            "BusinessNumber": None,
            "CompanyNumber": None,
            "IsWorkplace": workplace,
            "IsPayrollEntity": not workplace,
            "PayrollExportCode": None,
            "Address": number + 10,
            "Contact": None,
            "Creator": 1,
            "Created": stamp(made, zone),
            "Modified": stamp(made, zone),
            "AddressObject": {
                "Id": number + 10,
                "Street1": "12 Khreshchatyk Street",
                "City": "Kyiv",
                "State": None,
                "Postcode": "01001",
                "Country": 230,
            },
        }

    return [company(COMPANY, f"Kavarnia {install.site.name}", True), company(HEAD_OFFICE, "Kavarnia LLC", False)]


def areas(install: Install) -> list[Record]:
    """The site's operational units."""
    return [area(number, install.zone) for number in AREAS]


def employees(install: Install, today: date) -> list[Record]:
    """Everybody, with their contact."""
    zone = install.zone
    listed = []
    for person in install.people:
        number = person.number
        changed = datetime(2023, 9, 1, 9, number, tzinfo=zone)
        listed.append(
            {
                "Id": number,
                "Company": COMPANY,
                "FirstName": person.first,
                "LastName": person.last,
                "DisplayName": f"{person.first} {person.last}",
                "OtherName": None,
                "Salutation": None,
                "Active": True,
                "StartDate": local_day(date(2023, 9, 1), zone),
                "TerminationDate": None,
                "Photo": None,
                "Contact": number + 100,
                "Creator": 1,
                "Created": stamp(changed, zone),
                "Modified": stamp(changed, zone),
                "ContactObject": {
                    "Id": number + 100,
                    "Email1": person.email or None,
                    "PrimaryEmail": 1 if person.email else None,
                    "Phone1": None,
                },
                "_DPMetaData": {"System": "Employee", "EmployeeInfo": who(person, today)},
            }
        )
    return listed


def agreement(install: Install, terms: Agreement) -> Record:
    """Terms of work."""
    zone, wage = install.zone, terms.wage
    salary = wage is not None and wage.kind == "annual_salary"
    return {
        "Id": terms.number,
        "EmployeeId": terms.person.number,
        "PayPoint": None,
        "EmpType": 1,
        "CompanyName": "",
        "Active": True,
        "StartDate": local_day(terms.effective, zone),
        "EndDate": None,
        "EffectiveDate": local_day(terms.effective, zone),
        "Contract": 1,
        "PayrollId": terms.person.payroll,
        "HistoryId": terms.number + 2500,
        "Creator": 1,
        "Created": stamp(terms.recorded, zone),
        "Modified": stamp(terms.recorded, zone),
        "BaseRate": Decimal(wage.cents) / 100 if wage and not salary else None,
        "AnnualSalary": Decimal(wage.cents) / 100 if wage and salary else None,
    }


def stamp(at: datetime, zone: ZoneInfo) -> str:
    """A time as Deputy writes it: local, with its offset."""
    return at.astimezone(zone).isoformat(timespec="seconds")


def area(number: int, zone: ZoneInfo) -> Record:
    """An operational unit."""
    made = stamp(datetime(2023, 9, 1, 9, tzinfo=zone), zone)
    return {
        "Id": number,
        "Creator": 1,
        "Created": made,
        "Modified": made,
        "Company": COMPANY,
        "ParentOperationalUnit": 0,
        "OperationalUnitName": AREAS[number],
        "Active": True,
        "PayrollExportName": None,
        "Address": 11,
        "Contact": None,
        "RosterSortOrder": number,
        "ShowOnRoster": True,
        "Colour": None,
        "RosterActiveHoursSchedule": None,
        "DailyRosterBudget": None,
        "CompanyCode": "KAV",
        "CompanyName": "Kavarnia",
    }


def who(person: Person, signed_at: date) -> Record:
    """A person in brief; the address of the photo is signed anew for each answer."""
    number = person.number
    signature = blake2b(f"{number} {signed_at.isoformat()}".encode(), digest_size=8).hexdigest()
    return {
        "Id": number,
        "DisplayName": f"{person.first} {person.last}",
        "EmployeeProfile": number,
        "Employee": number,
        "Photo": f"https://photos.deputy.example/{number}.jpg?signature={signature}",
        "Pronouns": 0,
        "CustomPronouns": "",
    }


def local_day(day: date, zone: ZoneInfo) -> str:
    """A date as Deputy writes it: the local midnight at which it begins."""
    return stamp(datetime.combine(day, time(), zone), zone)
