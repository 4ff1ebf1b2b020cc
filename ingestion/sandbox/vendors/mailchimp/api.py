"""What Mailchimp's Marketing API 3.0 answers: lists by offset and count, and of each record the fields asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ingestion.sandbox.vendors.mailchimp.mailings import Account, Mailing, text

DEFAULT_COUNT, MOST = 10, 1000
TITLES = {400: "Invalid Resource", 401: "API Key Invalid", 404: "Resource Not Found", 429: "Too Many Requests"}


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    def body(self) -> dict[str, Any]:
        """The error as Mailchimp writes it."""
        return {
            "type": "https://mailchimp.com/developer/marketing/docs/errors/",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
            "instance": "0b4b6c2e-synthetic",
        }


def answer(accounts: Sequence[Account], path: str, query: Mapping[str, str], api_key: str, now: datetime) -> Any:
    """The body of `GET path?query` at `now`.

    Raises:
        ApiError: for anything but 200.
    """
    account = next((a for a in accounts if a.api_key == api_key), None)
    if account is None:
        raise ApiError(401, "Your API key may be invalid, or you've attempted to access the wrong datacenter.")
    match path.rstrip("/").split("/")[1:]:
        case ["3.0"]:
            body: dict[str, Any] = _root(account)
        case ["3.0", "lists"]:
            body = _page("lists", [_list(account, now)], query)
        case ["3.0", "lists", account.audience, "segments"]:
            body = _page("segments", [_segment(account, now)], query)
        case ["3.0", "lists", account.audience, "tag-search"]:
            body = {"tags": [{"id": 14_351_504, "name": "Regular"}], "total_items": 1, "_links": []}
        case ["3.0", "lists", account.audience, "interest-categories"]:
            body = _page("categories", [_interests(account)], query)
        case ["3.0", "campaigns"]:
            body = _page("campaigns", _campaigns(account, query, now), query)
        case ["3.0", "automations"]:
            body = _page("automations", [_automation(account, now)], query)
        case ["3.0", "reports"]:
            body = _page("reports", [account.report(m, now) for m in _sent(account, query, now)], query)
        case _:
            raise ApiError(404, "The requested resource could not be found.")
    return _chosen(body, query)


def _root(account: Account) -> dict[str, Any]:
    return {
        "account_id": account.key,
        "login_id": "synthetic",
        "account_name": account.name,
        "email": "owner@synthetic.example",
        "first_name": "Synthetic",
        "last_name": "Owner",
        "account_timezone": account.timezone,
        "account_industry": "Restaurant",
        "pricing_plan_type": "monthly",
        "total_subscribers": account.guests,
        "_links": [],
    }


def _list(account: Account, now: datetime) -> dict[str, Any]:
    sent = [m for m in account.mailings if m.is_shown(now)]
    opens, clicks = account.list_rates(now)
    return {
        "id": account.audience,
        "web_id": 903_380,
        "name": f"{account.name} guests",
        "permission_reminder": "You asked for it at the counter.",
        "date_created": text(account.mailings[0].sent_at - timedelta(days=30)),
        "list_rating": 4,
        "visibility": "prv",
        "stats": {
            "member_count": sent[-1].sent if sent else account.guests,
            "unsubscribe_count": sum(m.counts(now)["unsubscribed"] for m in sent),
            "cleaned_count": sum(m.counts(now)["hard"] for m in sent),
            "campaign_count": len(sent),
            "campaign_last_sent": text(sent[-1].sent_at) if sent else "",
            "open_rate": opens * 100,
            "click_rate": clicks * 100,
        },
        "_links": [],
    }


def _segment(account: Account, now: datetime) -> dict[str, Any]:
    begun = account.mailings[0].sent_at
    weeks = max(0, (now - begun).days // 7)
    return {
        "id": 13_506_120,
        "name": "Opened one of the last five",
        "member_count": account.guests // 2 + 3 * weeks,
        "type": "saved",
        "created_at": text(begun),
        "updated_at": text(begun + timedelta(weeks=weeks)),
        "list_id": account.audience,
        "_links": [],
    }


def _interests(account: Account) -> dict[str, Any]:
    return {
        "list_id": account.audience,
        "id": "1bcbe8ba9b",
        "title": "What do you like to drink?",
        "display_order": 0,
        "type": "checkboxes",
        "_links": [],
    }


def _campaigns(account: Account, query: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    """Those sent, newest first, behind the one that is being written for next Tuesday."""
    sent = _sent(account, query, now)
    found = [_campaign(account, m, now) for m in sent]
    coming = next((m for m in account.mailings if m.sent_at > now), None)
    if coming is not None and not query.get("since_send_time") and not query.get("before_send_time"):
        found.insert(0, _campaign(account, coming, now))
    status = query.get("status")
    return [c for c in found if status is None or c["status"] == status]


def _campaign(account: Account, mailing: Mailing, now: datetime) -> dict[str, Any]:
    is_sent = mailing.is_shown(now)
    counts = mailing.counts(now) if is_sent else {}
    return {
        "id": mailing.key,
        "web_id": int(mailing.key, 16) % 10**8,
        "type": "regular",
        "create_time": text(mailing.sent_at - timedelta(days=6, minutes=11)),
        "status": "sent" if is_sent else "save",
        "emails_sent": mailing.sent if is_sent else 0,
        "send_time": text(mailing.sent_at) if is_sent else "",
        "content_type": "template",
        "recipients": {
            "list_id": account.audience,
            "list_is_active": True,
            "list_name": f"{account.name} guests",
            "segment_text": "",
            "recipient_count": mailing.sent,
        },
        "settings": {"subject_line": mailing.subject, "title": mailing.title, "from_name": account.name},
        "tracking": {"opens": True, "html_clicks": True, "text_clicks": False, "ecomm360": bool(account.currency)},
        **(
            {
                "report_summary": {
                    "opens": counts["opens"],
                    "unique_opens": counts["unique_opens"],
                    "open_rate": (Decimal(counts["unique_opens"]) / counts["delivered"]).quantize(Decimal("1e-6")),
                    "clicks": counts["clicks"],
                    "subscriber_clicks": counts["clickers"],
                    "click_rate": (Decimal(counts["clickers"]) / counts["delivered"]).quantize(Decimal("1e-6")),
                }
            }
            if is_sent
            else {}
        ),
        "delivery_status": {"enabled": False},
        "_links": [],
    }


def _automation(account: Account, now: datetime) -> dict[str, Any]:
    begun = account.mailings[0].sent_at
    sent = max(0, (now - begun).days)
    return {
        "id": account.key[::-1],
        "create_time": text(begun),
        "start_time": text(begun),
        "status": "sending",
        "emails_sent": sent,
        "recipients": {"list_id": account.audience, "list_is_active": True, "list_name": f"{account.name} guests"},
        "settings": {"title": "Welcome (synthetic)", "from_name": account.name},
        "trigger_settings": {"workflow_type": "welcomeSeries", "workflow_emails_count": 1},
        "report_summary": {"opens": sent, "unique_opens": sent // 2, "open_rate": Decimal("0.5"), "clicks": 0},
        "_links": [],
    }


def _sent(account: Account, query: Mapping[str, str], now: datetime) -> list[Mailing]:
    """Mailings sent after `since_send_time` and before `before_send_time`, newest first."""
    since, before = _moment(query, "since_send_time"), _moment(query, "before_send_time")
    return [
        m
        for m in reversed(account.mailings)
        if m.is_shown(now) and (since is None or m.sent_at > since) and (before is None or m.sent_at < before)
    ]


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    if not query.get(name):
        return None
    try:
        moment = datetime.fromisoformat(query[name])
    except ValueError as error:
        raise ApiError(400, f"{name}: This value is not a valid datetime.") from error
    if moment.tzinfo is None:
        raise ApiError(400, f"{name}: This value is not a valid datetime.")
    return moment


def _page(name: str, records: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    count, offset = _number(query, "count", DEFAULT_COUNT, MOST), _number(query, "offset", 0, 10**9)
    return {name: list(records[offset : offset + count]), "total_items": len(records), "_links": []}


def _number(query: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text_of = query.get(name, str(usual))
    if not text_of.isdigit() or int(text_of) > most:
        raise ApiError(400, f"{name}: must be a whole number of at most {most}.")
    return int(text_of)


def _chosen(body: dict[str, Any], query: Mapping[str, str]) -> Any:
    """The body with `fields` only, or without `exclude_fields`; both are dotted paths and go through lists."""
    if query.get("fields") and query.get("exclude_fields"):
        raise ApiError(400, "fields and exclude_fields cannot be used together.")
    if query.get("fields"):
        return _only(body, [path.split(".") for path in query["fields"].split(",")])
    for path in query.get("exclude_fields", "").split(","):
        if path:
            body = _without(body, path.split("."))
    return body


def _only(value: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, list):
        return [_only(element, paths) for element in value]
    found = {}
    for name in dict.fromkeys(path[0] for path in paths if path[0] in value):
        inner = [path[1:] for path in paths if path[0] == name]
        found[name] = value[name] if [] in inner else _only(value[name], inner)
    return found


def _without(value: Any, path: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_without(element, path) for element in value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: inner for name, inner in value.items() if name != path[0]}
    return {name: _without(inner, path[1:]) if name == path[0] else inner for name, inner in value.items()}
