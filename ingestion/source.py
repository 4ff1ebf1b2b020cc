"""A source as ingestion sees it: one business's connection to one integration."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ingestion.errors import ConfigError, CredentialsError
from ingestion.spec import IntegrationSpec, LoginAuth, NoAuth, OAuthRefreshAuth, Stream
from ingestion.template import fill

# Settings that every source may have, whatever its integration.
COMMON_SETTINGS = ("base_url", "since", "requests_per_second")
_TOKEN_URL = "token_url"  # besides, of those that exchange a refresh token


@dataclass(frozen=True)
class SourceRef:
    """Who is read, with what settings and secrets. The secrets never leave memory."""

    source_id: int
    business: int
    business_name: str
    integration: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)
    keep_secret: Callable[[Mapping[str, str]], None] | None = field(default=None, repr=False, compare=False)
    """Stores secrets in place of the old ones; None where they are kept where Larder cannot write."""

    @property
    def label(self) -> str:
        """How commands name the source: `business/name`."""
        return f"{self.business_name}/{self.name}"

    @property
    def check_command(self) -> str:
        """The command that checks the source's settings and credentials."""
        return f"larder source check {self.label}"

    @property
    def extract_command(self) -> str:
        """The command that reads the source again."""
        return f"larder extract --source {self.label}"


def check_source(source: SourceRef, spec: IntegrationSpec) -> None:
    """Raise ConfigError or CredentialsError for a setting or secret that is missing, unknown or of a wrong kind."""
    again = source.check_command
    known = {*spec.config, *COMMON_SETTINGS, *([_TOKEN_URL] if isinstance(spec.auth, OAuthRefreshAuth) else [])}
    unknown = sorted(set(source.config) - known)
    if unknown:
        raise ConfigError(
            f"source {source.label}: {spec.title} has no setting {unknown[0]!r}; known: {', '.join(sorted(known))}",
            next_command=again,
        )
    for name, setting in spec.config.items():
        value = source.config.get(name)
        if value in (None, "", []):
            if setting.required:
                raise ConfigError(
                    f"source {source.label}: the setting {name!r} is missing ({setting.about})", next_command=again
                )
        elif isinstance(value, list) != setting.is_list:
            kind = "a list" if setting.is_list else "one value"
            raise ConfigError(f"source {source.label}: the setting {name!r} must be {kind}", next_command=again)
    addresses = {"base_url": base_url_of(source, spec)} if spec.base_url else {}
    if _TOKEN_URL in source.config:
        addresses[_TOKEN_URL] = str(source.config[_TOKEN_URL])
    for name, address in addresses.items():
        if not re.match(r"https?://[\w.:\[\]-]+(/|$)", address):
            raise ConfigError(f"source {source.label}: {name} {address!r} is not a web address", next_command=again)
    rate = source.config.get("requests_per_second", 1)
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise ConfigError(f"source {source.label}: requests_per_second must be a whole number ≥ 1", next_command=again)
    since(source)
    secret_values(source, spec)


def base_url_of(source: SourceRef, spec: IntegrationSpec, stream: Stream | None = None) -> str:
    """Where the source is asked: its own `base_url`, else the stream's, else the integration's, with the source's
    settings filled in."""
    settings = {f"config.{name}": source.config.get(name, "") for name in spec.config}
    vendors = (stream and stream.base_url) or spec.base_url
    return str(source.config.get("base_url") or fill(vendors, settings)).rstrip("/")


def secrets_of(spec: IntegrationSpec) -> tuple[str, ...]:
    """Names of the secrets that a source of this integration needs."""
    match spec.auth:
        case NoAuth():
            names: tuple[str, ...] = ()
        case LoginAuth(secrets=secrets):
            names = tuple(secrets.values())
        case OAuthRefreshAuth() as auth:
            names = (auth.client_id, auth.client_secret, auth.refresh_token)
        case auth:
            names = (auth.secret,)
    return tuple(dict.fromkeys((*names, *spec.secret_headers.values())))


def secret_values(source: SourceRef, spec: IntegrationSpec) -> dict[str, str]:
    """The secrets that the integration needs, by its own names for them; CredentialsError for one that is missing.

    Where it needs just one, a secret that is stored as bare text (named `token`) is that one.
    """
    names = secrets_of(spec)
    values = {name: source.secret.get(name, "") for name in names}
    if len(names) == 1 and not values[names[0]]:
        values[names[0]] = source.secret.get("token", "")
    for name, value in values.items():
        if not value:
            raise CredentialsError(
                f"source {source.label}: the secret {name!r} is missing", next_command=source.check_command
            )
    return values


def since(source: SourceRef) -> datetime | None:
    """Where the source's first windows begin, if it says so; ConfigError if that is not an ISO date or time."""
    value = source.config.get("since")
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ConfigError(
            f"source {source.label}: since {value!r} is not an ISO date", next_command=source.check_command
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
