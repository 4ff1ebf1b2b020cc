"""Mailchimp over HTTP: Basic auth with any user name and the API key as password, errors as problem details."""

from __future__ import annotations

import base64
import binascii

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.mailchimp.accounts import accounts
from ingestion.sandbox.vendors.mailchimp.api import ApiError, answer


def open_vendor(trade: Trade) -> MailchimpVendor:
    """Mailchimp with all accounts."""
    return MailchimpVendor(trade)


class MailchimpVendor:
    """Accounts that write to the guests of the sandbox's sites."""

    rate = 10

    def __init__(self, trade: Trade) -> None:
        self.accounts = accounts(trade)

    def throttled(self, retry_after: int) -> Answer:
        """429, and no Retry-After."""
        return _refused(ApiError(429, "You have exceeded the limit of 10 simultaneous connections."))

    def unauthorized(self) -> Answer:
        """401."""
        return _refused(
            ApiError(401, "Your API key may be invalid, or you've attempted to access the wrong datacenter.")
        )

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            if request.method != "GET":
                raise ApiError(404, "The requested resource could not be found.")
            return Answer.json(
                answer(self.accounts, request.path, request.query, _password(request), request.now),
            )
        except ApiError as error:
            return _refused(error)


def _password(request: Request) -> str:
    """What follows the user name in Basic auth, or nothing."""
    scheme, _, pair = request.headers.get("authorization", "").partition(" ")
    try:
        return base64.b64decode(pair, validate=True).decode().partition(":")[2] if scheme == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _refused(error: ApiError) -> Answer:
    return Answer.json(error.body(), error.status)
