"""Google Business Profile over HTTP: access tokens for a refresh token, errors with a status in words."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.google_business.accounts import accounts
from ingestion.sandbox.vendors.google_business.api import ApiError, account_of, answer, token


def open_vendor(trade: Trade) -> GoogleBusinessVendor:
    """Google with all accounts."""
    return GoogleBusinessVendor(trade)


class GoogleBusinessVendor:
    """Accounts whose reviews are derived from the trade. The three hosts of the APIs are one here."""

    rate = 10

    def __init__(self, trade: Trade) -> None:
        self.accounts = accounts(trade)
        self.seconds = time.time

    def throttled(self, retry_after: int) -> Answer:
        """429, and no Retry-After."""
        error = ApiError(429, "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'")
        return Answer.json(error.body(), 429)

    def unauthorized(self) -> Answer:
        """401."""
        return Answer.json(ApiError(401, "Request had invalid authentication credentials.").body(), 401)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.method == "POST" and request.path == "/token":
            status, body = token(self.accounts, dict(parse_qsl(request.body.decode())), self.seconds())
            return Answer.json(body, status)
        try:
            if request.method != "GET":
                raise ApiError(404, "Requested entity was not found.")
            account = account_of(self.accounts, request.token, self.seconds())
            return Answer.json(answer(account, request.path, request.query, request.now))
        except ApiError as error:
            return Answer.json(error.body(), error.status)
