"""The Google Ads API over REST: a refresh token for an hour's access, a developer's token besides, reports by query.

Google's pages hold 10 000 rows; here 100, so that there are several. A page token belongs to its query and to what the
query found at first: later pages are of the same moment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.google_ads.accounts import (
    CLIENT_ID,
    CLIENT_SECRET,
    DEVELOPER_TOKEN,
    Login,
    logins,
)
from ingestion.sandbox.vendors.google_ads.gaql import QueryError, camel, parsed, rows

VERSION = "v25"
PAGE = 100
FAILURE = f"type.googleapis.com/google.ads.googleads.{VERSION}.errors.GoogleAdsFailure"
STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}


class GoogleError(Exception):
    """An answer other than 200: Google's common error, in whose details is what the Ads API says."""

    def __init__(
        self, status: int, message: str, kind: str, name: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        said = {"errorCode": {kind: name}, "message": message} | ({"details": details} if details else {})
        self.answer = Answer.json(
            {
                "error": {
                    "code": status,
                    "message": "Request contains an invalid argument." if status == 400 else message,
                    "status": STATUS[status],
                    "details": [{"@type": FAILURE, "errors": [said]}],
                }
            },
            status,
        )


def open_vendor(trade: Trade) -> GoogleAdsVendor:
    """Google Ads with the accounts of the jaffle shop and of the coffee place."""
    return GoogleAdsVendor(trade)


class GoogleAdsVendor:
    """The API, and the endpoint for tokens (`/token`), which Google has on another host."""

    rate = 20

    def __init__(self, trade: Trade, page: int = PAGE) -> None:
        self.logins, self.page = logins(trade), page

    def throttled(self, retry_after: int) -> Answer:
        """429, and no Retry-After: how long to wait is only in the body."""
        quota = {
            "rateScope": "DEVELOPER",
            "rateName": "Number of operations for basic access",
            "retryDelay": f"{retry_after}s",
        }
        message = f"Too many requests. Retry in {retry_after} seconds."
        details = {"quotaErrorDetails": quota}
        return GoogleError(429, message, "quotaError", "RESOURCE_TEMPORARILY_EXHAUSTED", details).answer

    def unauthorized(self) -> Answer:
        """401."""
        message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
        return GoogleError(401, message, "authenticationError", "OAUTH_TOKEN_INVALID").answer

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path == "/token":
            return self._token(dict(parse_qsl(request.body.decode())))
        try:
            login = self._login(request)
            match request.path.strip("/").split("/"):
                case [version, "customers", customer, "googleAds:search"] if (
                    request.method == "POST" and version == VERSION and customer == login.account.number
                ):
                    return Answer.json(self._search(login, request))
                case [version, "customers", _, "googleAds:search"] if version == VERSION:
                    raise _denied()
            raise GoogleError(404, "Requested entity was not found.", "requestError", "UNKNOWN")
        except GoogleError as error:
            return error.answer

    def _token(self, form: Mapping[str, str]) -> Answer:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            refused = {"error": "invalid_client", "error_description": "The OAuth client was not found."}
            return Answer.json(refused, 401)
        login = next((known for known in self.logins if known.refresh_token == form.get("refresh_token")), None)
        if form.get("grant_type") != "refresh_token" or login is None:
            refused = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
            return Answer.json(refused, 400)
        scope = "https://www.googleapis.com/auth/adwords"
        issued = {"access_token": login.access_token, "expires_in": 3599, "scope": scope, "token_type": "Bearer"}
        return Answer.json(issued)

    def _login(self, request: Request) -> Login:
        login = next((known for known in self.logins if known.access_token == request.token), None)
        if login is None:
            message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            raise GoogleError(401, message, "authenticationError", "OAUTH_TOKEN_INVALID")
        if request.headers.get("developer-token") != DEVELOPER_TOKEN:
            raise GoogleError(
                403, "The developer token is not valid.", "authorizationError", "DEVELOPER_TOKEN_PROHIBITED"
            )
        manager = request.headers.get("login-customer-id")
        if manager is not None and not (manager.isdigit() and len(manager) == 10):
            raise GoogleError(400, "Login customer id is invalid.", "headerError", "INVALID_LOGIN_CUSTOMER_ID")
        if (manager or login.account.number) != (login.manager or login.account.number):
            raise _denied()
        return login

    def _search(self, login: Login, request: Request) -> dict[str, Any]:
        asked = json.loads(request.body or b"{}")
        unknown = sorted(set(asked) - {"query", "pageToken"})
        if unknown:
            raise GoogleError(400, f"Setting {unknown[0]} is not supported.", "requestError", "PAGE_SIZE_NOT_SUPPORTED")
        text = asked.get("query", "")
        try:
            query = parsed(text)
        except QueryError as error:
            raise GoogleError(400, str(error), "queryError", error.name) from error
        at, start = _position(asked["pageToken"], text) if asked.get("pageToken") else (request.now, 0)
        found = list(rows(login.account, query, at))
        page: dict[str, Any] = {"results": found[start : start + self.page]} if found[start:] else {}
        if start + self.page < len(found):
            page["nextPageToken"] = _page_token(text, at, start + self.page)
        page["fieldMask"] = ",".join(f"{group}.{camel(name)}" for group, name in query.fields)
        return page


def _denied() -> GoogleError:
    return GoogleError(
        403,
        "User doesn't have permission to access customer. Note: If you're accessing a client customer, the manager's "
        "customer id must be set in the 'login-customer-id' header.",
        "authorizationError",
        "USER_PERMISSION_DENIED",
    )


def _page_token(query: str, at: datetime, start: int) -> str:
    digest = hashlib.blake2b(query.encode(), digest_size=6).hexdigest()
    return base64.urlsafe_b64encode(json.dumps([digest, at.isoformat(), start]).encode()).decode()


def _position(token: str, query: str) -> tuple[datetime, int]:
    """The moment and the first row of a page."""
    try:
        digest, at, start = json.loads(base64.urlsafe_b64decode(token))
        if digest == hashlib.blake2b(query.encode(), digest_size=6).hexdigest():
            return datetime.fromisoformat(at), start
    except (binascii.Error, ValueError, TypeError) as error:
        raise _unknown_page() from error
    raise _unknown_page()


def _unknown_page() -> GoogleError:
    return GoogleError(400, "The page token is invalid.", "requestError", "INVALID_PAGE_TOKEN")
