"""What an integration can say about itself in `integration.yml`: pydantic models, nothing executable.

Paths into a record are dotted (`general.timeZone`); `""` is the body itself. Request values are templates:
`{config.x}` a setting of the source, `{site}` one site, `{sites}` the sites of a batch (a list, when it is the whole
value), `{parent}` the parent record's key, `{from}` and `{to}` the window's ends in the stream's time format.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

Kind = Literal["pos", "labour", "marketing", "any"]
Entity = Literal[
    "location",
    "employee",
    "item",
    "campaign",
    "sale",
    "sale_item",
    "payment",
    "discount",
    "refund",
    "refund_item",
    "shift",
    "wage",
    "ad_spend",
    "review",
    "mailing",
]
THINGS: frozenset[Entity] = frozenset({"location", "employee", "item", "campaign", "wage"})  # what is, not what happens
BESIDE_TRADE: frozenset[Entity] = frozenset({"review", "mailing"})  # a day of trade is complete without it
ErrorClass = Literal["vendor", "credentials", "throttled", "config", "cursor_expired"]
TimeFormat = Literal[
    "iso_z",
    "iso_ms_offset",
    "iso_offset",
    "iso_seconds_z",
    "iso_seconds_offset",
    "rfc2822",
    "date",
    "epoch_ms",
    "epoch_s",
]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: object) -> timedelta:
    """`30s`, `10m`, `6h` or `28d` as a timedelta; raises ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    found = re.fullmatch(r"(\d+)([smhd])", str(value))
    if not found:
        raise ValueError(f"{value!r} is not a duration such as 30s, 10m, 6h or 28d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def duration_text(value: timedelta) -> str:
    """A duration as it is written in a spec: `28d`, `6h`, `10m`, `30s`."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(duration_text)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class NoAuth(_Model):
    """The vendor asks for nothing."""

    type: Literal["none"]


class BearerAuth(_Model):
    """`Authorization: Bearer <secret>`."""

    type: Literal["bearer"]
    secret: str = "access_token"


class QueryTokenAuth(_Model):
    """The secret as a query parameter; it is removed from every recorded URL."""

    type: Literal["query_token"]
    secret: str = "access_token"
    param: str = "access_token"


class HeaderAuth(_Model):
    """The secret in a header of the vendor's own."""

    type: Literal["header"]
    secret: str = "access_token"
    header: str
    prefix: str = ""


class BasicAuth(_Model):
    """HTTP Basic: a fixed user name, the secret as password."""

    type: Literal["basic"]
    secret: str = "api_key"
    user: str


class OAuthRefreshAuth(_Model):
    """A refresh token is exchanged for bearer tokens that live an hour or so (RFC 6749, section 6)."""

    type: Literal["oauth_refresh"]
    url: str  # of the token endpoint; a source's `token_url` replaces it
    client_id: str = "client_id"  # names of the secrets
    client_secret: str = "client_secret"
    refresh_token: str = "refresh_token"


class LoginAuth(_Model):
    """POST the secrets, take a token from the answer, take a new one when it expires or is refused."""

    type: Literal["login"]
    path: str
    secrets: dict[str, str]  # field of the login body → name of the secret
    fields: dict[str, str] = {}  # fixed fields of the login body
    token: str  # where the token is in the answer
    expires_in: str | None = None  # where its lifetime in seconds is
    header: str = "Authorization"  # how the token is sent
    prefix: str = "Bearer "


Auth = Annotated[
    NoAuth | BearerAuth | QueryTokenAuth | HeaderAuth | BasicAuth | OAuthRefreshAuth | LoginAuth,
    Field(discriminator="type"),
]


class RateLimit(_Model):
    """Budget of one credential, shared by every source that uses it."""

    requests: int = Field(gt=0)
    per: Duration = timedelta(seconds=1)
    reset_header: str | None = None  # of a throttled answer: Unix time of the next chance, where Retry-After is absent


class ErrorSign(_Model):
    """How the vendor says an error besides plain status codes. All the given conditions must hold."""

    status: int | None = None
    path: str | None = None  # into the body
    values: tuple[str, ...] = ()  # texts the value at `path` may have; empty: any value but null
    other_than: tuple[str, ...] = ()  # texts that mean no error, where a good answer has the field too (code 0)
    means: ErrorClass

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.status is None and self.path is None:
            raise ValueError("an error sign needs a status, a path, or both")
        if (self.values or self.other_than) and self.path is None:
            raise ValueError("the values of an error sign need the path where they are")
        return self


class SinglePage(_Model):
    """One request has it all."""

    type: Literal["single"] = "single"


class CursorPaging(_Model):
    """The answer holds an opaque cursor, which goes back in the query or the body."""

    type: Literal["cursor_body", "cursor_query"]
    cursor: str  # where it is in the answer
    send_as: str = "cursor"


class PageNumberPaging(_Model):
    """`page=1, 2, …` until a page is shorter than its size, or up to the number of pages that the answer tells."""

    type: Literal["page_number"]
    send_as: str = "page"
    send_in: Literal["query", "body"] = Field(default="query", alias="in")
    size: int = Field(gt=0)
    first: int = 1
    pages: str | None = None  # where the number of pages is in the answer


class OffsetPaging(_Model):
    """`offset=0, size, 2·size, …` until a page is shorter than its size."""

    type: Literal["offset"]
    send_as: str = "offset"
    send_in: Literal["query", "body"] = Field(default="query", alias="in")
    size: int = Field(gt=0)
    max_offset: int | None = None  # the vendor refuses offsets beyond it: a longer window is read in halves


class NextUrlPaging(_Model):
    """The answer holds the URL of the next page."""

    type: Literal["next_url"]
    next: str


class TokenHeaderPaging(_Model):
    """A response header holds the token of the next page."""

    type: Literal["token_header"]
    header: str
    send_as: str = "pageToken"


Paging = Annotated[
    SinglePage | CursorPaging | PageNumberPaging | OffsetPaging | NextUrlPaging | TokenHeaderPaging,
    Field(discriminator="type"),
]


class Modified(_Model):
    """Where a record says when it last changed."""

    path: str
    format: TimeFormat = "iso_offset"


class Cursor(_Model):
    """Windows of an incremental stream.

    A window is [where the last one ended − lag, now], cut at `max_window`; `restatement` reaches further back each
    time because the vendor restates trailing days. Without `max_window` a first extract is one window.
    """

    format: TimeFormat = "iso_z"  # of {from} and {to}
    lag: Duration = timedelta(minutes=2)
    initial: Duration = timedelta(days=730)  # how far back the first window begins, unless the source says `since`
    max_window: Duration | None = None
    restatement: Duration = timedelta(0)
    max_age: Duration | None = None  # the vendor serves nothing older

    @property
    def grain(self) -> Literal["timestamp", "date"]:
        """Whether the vendor's filter takes instants or whole days."""
        return "date" if self.format == "date" else "timestamp"


class Sites(_Model):
    """Fan-out over a source's sites: ids from the source's settings, or read from another stream."""

    config: str | None = None
    stream: str | None = None
    field: str | None = None
    batch: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.config is None) == (self.stream is None) or (self.stream is None) != (self.field is None):
            raise ValueError("sites come either from `config`, or from `stream` and `field`")
        return self


class Parent(_Model):
    """One request (and its pages) for each record of another stream."""

    stream: str
    field: str


class Nested(_Model):
    """A list inside a record that the vendor silently cuts at `limit`: a full one is asked for by itself."""

    path: str  # of the list in the record
    limit: int = Field(gt=0)
    key: str = "id"  # of the record; `{parent}` in the request
    request: str  # the path that answers with the whole list, by offset
    size: int = Field(default=1000, gt=0)  # of its pages
    params: dict[str, str | int] = {}
    records: Paths
    element_key: str = "id"


class AllowedHours(_Model):
    """When the vendor may be asked: from `start` until before `end` on the wall clock; may span midnight."""

    start: time = Field(alias="from")
    end: time = Field(alias="to")
    time_zone: str = "UTC"

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if self.start == self.end:
            raise ValueError("`from` and `to` are the same time")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.time_zone!r} is no time zone") from error
        return self

    def opens_at(self, now: datetime) -> datetime:
        """`now`, if the vendor may be asked now; else when it next may."""
        zone = ZoneInfo(self.time_zone)
        here = now.astimezone(zone)
        clock = here.time()
        spans = self.start > self.end
        inside = (clock >= self.start or clock < self.end) if spans else self.start <= clock < self.end
        if inside:
            return now
        day = here.date() if clock < self.start else here.date() + timedelta(days=1)
        return datetime.combine(day, self.start, zone).astimezone(UTC)


class Stream(_Model):
    """One kind of record: how to ask for it, where the records are, and what identifies one."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    about: str
    method: Literal["GET", "POST"] = "GET"
    base_url: str | None = None  # where the vendor has this stream on another host than the others
    path: str
    params: dict[str, str | int | list[str]] = {}  # a list is sent as a repeated parameter
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = None
    records: Paths  # where the records are; several places are read one after the other
    natural_key: Paths = Field(min_length=1)
    modified: Modified | None = None
    currency: Paths = ()  # paths of ISO codes to check
    cursor: Cursor | None = None
    ascending: bool = False  # sorted by `modified`, oldest first: a long window may be cut anywhere
    newest_first: bool = False  # sorted by `modified`, newest first, with no filter: read until older than the window
    paging: Paging = SinglePage()
    nested: tuple[Nested, ...] = ()
    sites: Sites | None = None
    parent: Parent | None = None
    context: dict[str, str] = {}  # what only the request knows; becomes the record's first member, `_context`
    deletes: Literal["none", "soft_flag", "complete_window", "snapshot"] = "none"
    sweep: Duration | None = None  # how often a stream with a cursor is read whole besides, as a snapshot
    deleted_flag: str | None = None
    refused: str | None = None  # where whoever made the record says why it cannot be used
    window_field: str | None = None  # the field that the window is about, when deletes: complete_window
    volatile: Paths = ()  # left out when two versions are compared
    links: Paths = ()  # keys of records of this source (of any stream) that belong together with it: a payment's order
    no_link: str | None = None  # what a link says that leads nowhere, besides null and empty text
    cadence: Duration = timedelta(minutes=10)
    feeds: tuple[Entity, ...] = ()

    @property
    def tells_events(self) -> bool:
        """Whether its records happen on a day, so that a day is complete only once the stream was read beyond it."""
        return any(entity not in THINGS | BESIDE_TRADE for entity in self.feeds)

    @property
    def link_paths(self) -> list[str]:
        """`links` as jsonpaths; in Postgres' lax mode they go through arrays by themselves."""
        but_nowhere = "" if self.no_link is None else f" ? (@ != {json.dumps(self.no_link)})"
        return ["$." + ".".join(f'"{step}"' for step in path.split(".")) + but_nowhere for path in self.links]

    @property
    def complete(self) -> bool:
        """Whether a window that was read to its end tells which records are gone."""
        return self.deletes in ("complete_window", "snapshot")

    @property
    def tells_absence(self) -> bool:
        """Whether there are, at least at times, windows that tell which records are gone."""
        return self.complete or self.sweep is not None

    @property
    def as_snapshot(self) -> "Stream":
        """This stream, read whole."""
        return self.model_copy(
            update={"cursor": None, "newest_first": False, "ascending": False, "deletes": "snapshot", "sweep": None}
        )

    @property
    def per_site_cursor(self) -> bool:
        """Whether each site has its own position. A complete window covers all sites at once."""
        return self.sites is not None and self.cursor is not None and not self.complete

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.ascending and (self.modified is None or self.complete):
            raise ValueError("ascending needs `modified` and a stream without complete windows")
        if self.newest_first and (self.modified is None or self.cursor is None or self.complete or self.ascending):
            raise ValueError("newest_first needs `modified` and `cursor`, and no complete windows")
        if self.newest_first and isinstance(self.paging, PageNumberPaging | OffsetPaging):
            raise ValueError("newest_first needs pages that are read forwards: a cursor, a token or the next URL")
        if isinstance(self.paging, PageNumberPaging | OffsetPaging):
            if self.paging.send_in == "body" and self.method != "POST":
                raise ValueError("paging in the body needs method: POST")
            if isinstance(self.paging, OffsetPaging) and self.paging.max_offset is not None and self.cursor is None:
                raise ValueError("max_offset needs `cursor`: only a window can be read in halves")
        if self.deletes == "complete_window" and (self.cursor is None or self.window_field is None):
            raise ValueError("deletes: complete_window needs `cursor` and `window_field`")
        if self.deletes == "snapshot" and self.cursor is not None:
            raise ValueError("a snapshot is read whole: it has no cursor")
        if self.sweep is not None and (self.cursor is None or self.complete):
            raise ValueError("sweep needs `cursor`, and no complete windows")
        if self.deletes == "soft_flag" and self.deleted_flag is None:
            raise ValueError("deletes: soft_flag needs `deleted_flag`")
        return self


class Setting(_Model):
    """A setting that a source of this integration has."""

    about: str
    required: bool = True
    is_list: bool = False


class IntegrationSpec(_Model):
    """A vendor we can read."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,20}$")
    title: str
    kind: Kind
    docs: str  # the vendor's own documentation
    base_url: str
    config: dict[str, Setting] = {}
    auth: Auth
    headers: dict[str, str] = {}  # may hold {config.x}; one that comes out empty is not sent
    secret_headers: dict[str, str] = {}  # header → name of the secret
    rate_limit: RateLimit
    allowed_hours: AllowedHours | None = None
    money: Literal["minor_units", "decimal", "decimal_string", "micros", "none"]
    time_zone: Literal["utc", "site", "account"]
    omits_empty: bool = False  # an empty list is left out of the answer
    error_signs: tuple[ErrorSign, ...] = ()
    streams: tuple[Stream, ...] = Field(min_length=1)
    version: str = ""  # hash of the file, set by the registry

    @property
    def feeds(self) -> tuple[Entity, ...]:
        """The unified entities that this integration's streams feed, each once, in order of first mention."""
        return tuple(dict.fromkeys(entity for stream in self.streams for entity in stream.feeds))

    def stream(self, name: str) -> Stream:
        """The stream of that name; KeyError if there is none."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(name)

    @model_validator(mode="after")
    def _references_hold(self) -> Self:
        names = [stream.name for stream in self.streams]
        if len(set(names)) != len(names):
            raise ValueError("two streams have the same name")
        for stream in self.streams:
            origins = [stream.parent.stream] if stream.parent else []
            if stream.sites and stream.sites.stream:
                origins.append(stream.sites.stream)
            for origin in origins:
                if origin not in names[: names.index(stream.name)]:
                    raise ValueError(f"stream {stream.name} reads {origin}, which must be declared before it")
                if self.stream(origin).cursor is not None:
                    raise ValueError(f"stream {stream.name} reads {origin}, which must be read whole (no cursor)")
            if stream.sites and stream.sites.config and stream.sites.config not in self.config:
                raise ValueError(f"stream {stream.name}: `{stream.sites.config}` is not in `config`")
        return self


def natural_key_text(values: Sequence[str]) -> str:
    """The text that identifies a record: its key fields joined by `|`, where `|` and the backslash are escaped."""
    if len(values) == 1:
        return values[0]
    return "|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in values)
