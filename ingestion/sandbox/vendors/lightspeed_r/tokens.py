"""Lightspeed's OAuth: a refresh token that keeps, and bearer tokens of half an hour, by the sandbox's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from urllib.parse import parse_qsl

from ingestion.sandbox.http import Answer, Request

PATH = "/auth/oauth/token"
LIFETIME = timedelta(minutes=30)
CLIENT, SECRET = "sandbox-lightspeed-client", "sandbox-lightspeed-secret"
REFRESH_TOKEN = "sandbox-lightspeed-kavarnia"


def issue(request: Request) -> Answer:
    """A new bearer token for a refresh token."""
    form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    if request.method != "POST" or form.get("grant_type") != "refresh_token":
        return _refused(400, "unsupported_grant_type")
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
        return _refused(401, "invalid_client")
    if form.get("refresh_token") != REFRESH_TOKEN:
        return _refused(400, "invalid_grant")
    token = {
        "token_type": "Bearer",
        "expires_in": int(LIFETIME.total_seconds()),
        "access_token": _token(int(request.now.timestamp())),
        "refresh_token": REFRESH_TOKEN,
        "scope": "employee:register_read employee:inventory_read employee:admin_shops_read",
    }
    return Answer.json(token)


def is_valid(token: str, now: datetime) -> bool:
    """Whether the token was issued here, and less than half an hour ago."""
    issued, _, _ = token.partition(".")
    if not issued.isdigit() or token != _token(int(issued)):
        return False
    age = now - datetime.fromtimestamp(int(issued), UTC)
    return timedelta(seconds=-1) <= age < LIFETIME


def _token(issued: int) -> str:
    return f"{issued}.{blake2b(f'{issued}{SECRET}'.encode(), digest_size=20).hexdigest()}"


def _refused(status: int, error: str) -> Answer:
    return Answer.json({"error": error, "error_description": "The request was refused."}, status)
