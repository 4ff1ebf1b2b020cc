"""The Graph API over HTTP: a token in the query, throttling as HTTP 400, the next page as an absolute URL."""

from __future__ import annotations

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.meta_ads.accounts import accounts
from ingestion.sandbox.vendors.meta_ads.api import ApiError, answer, throttled

USAGE = '{"0":[{"type":"ads_insights","call_count":1,"total_cputime":1,"total_time":1}]}'
"""What Meta tells of a token's use; percentages of what is allowed."""


def open_vendor(trade: Trade) -> MetaAdsVendor:
    """Meta with both ad accounts."""
    return MetaAdsVendor(trade)


class MetaAdsVendor:
    """Two ad accounts, derived from the trade."""

    rate = 20

    def __init__(self, trade: Trade) -> None:
        self.accounts = accounts(trade.jaffle_sites, trade.pizza_sites)

    def throttled(self, retry_after: int) -> Answer:
        """HTTP 400 with code 17, and no Retry-After."""
        error = throttled()
        return Answer.json(error.body(), error.status)

    def unauthorized(self) -> Answer:
        """HTTP 400 with code 190."""
        error = ApiError("Error validating access token: the session has been invalidated", 190, 460)
        return Answer.json(error.body(), error.status)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        token = request.query.get("access_token") or request.token
        try:
            body = answer(self.accounts, request.origin, request.path, request.query, token, request.now)
            return Answer.json(body, headers={"X-Business-Use-Case-Usage": USAGE})
        except ApiError as error:
            return Answer.json(error.body(), error.status)
