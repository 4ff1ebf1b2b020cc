"""7shifts' API over HTTP: bearer token, keyset cursor, ten requests a second."""

from __future__ import annotations

from ingestion.sandbox.data import Trade
from ingestion.sandbox.http import Answer, Request
from ingestion.sandbox.vendors.sevenshifts.api import ApiError, answer
from ingestion.sandbox.vendors.sevenshifts.companies import companies


def open_vendor(trade: Trade) -> SevenShiftsVendor:
    """7shifts with both companies."""
    return SevenShiftsVendor(trade)


class SevenShiftsVendor:
    """Two companies, derived from the trade."""

    rate = 10

    def __init__(self, trade: Trade) -> None:
        self.companies = companies(trade.jaffle_sites, trade.pizza_sites)

    def throttled(self, retry_after: int) -> Answer:
        """429."""
        error = ApiError(429, "Too many requests", "unknown")
        return Answer.json(error.body(), 429, {"Retry-After": str(retry_after)})

    def unauthorized(self) -> Answer:
        """401."""
        return Answer.json(ApiError(401, "Invalid access token", "unauthorized").body(), 401)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        if request.method != "GET":
            return Answer.json(ApiError(405, "Method not allowed", "unknown").body(), 405)
        try:
            return Answer.json(answer(self.companies, request.path, request.query, request.token, request.now))
        except ApiError as error:
            return Answer.json(error.body(), error.status)
