"""What the catalogue holds: instances, shards, businesses, sources. Values only; the reads are in catalogue.py."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

SCHEMAS = ("keys", "raw", "staging", "intermediate", "slices", "marts", "bi", "meta")
"""The schemas every shard has, without its namespace prefix; the placeholders of shard_migrations/shard/*.sql."""
WRITE_GATE = 19450
"""Advisory lock class of the write gate, as in the shards' `keys.write_gate`; its key is the business."""

LOADER, TRANSFORMER, MOVER = "larder_loader", "larder_transformer", "larder_mover"
ROUTER, INSPECTOR = "larder_router", "larder_inspector"
"""Roles that Larder's own parts connect with; sharding/access/roles.py says what each may do."""


def postgres_url(username: str, password: str, host: str, port: int, database: str) -> str:
    """A libpq connection URL, its parts escaped."""
    login = quote(username, safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"postgresql://{login}@{host}:{port}/{quote(database, safe='')}"


@dataclass(frozen=True)
class Instance:
    """A Postgres server: one that Larder runs itself (`embedded`) or any other (`external`, such as RDS)."""

    name: str
    kind: Literal["embedded", "external"]
    host: str
    port: int
    username: str
    secret_ref: str


@dataclass(frozen=True, order=True)
class Address:
    """Where a server is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Shard:
    """One database with its namespace on an instance. Many businesses can share one; an enterprise can have its own."""

    name: str
    instance: str
    database: str
    namespace: str
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    state: str = "active"
    replicas: tuple[Address, ...] = ()

    def schema(self, name: str) -> str:
        """The real name of a schema on this shard: `raw` is `raw`, or `<namespace>_raw` where it has a namespace."""
        return f"{self.namespace}_{name}" if self.namespace else name

    @cached_property
    def schemas(self) -> dict[str, str]:
        """`schema` of every schema in `SCHEMAS`."""
        return {name: self.schema(name) for name in SCHEMAS}

    def render(self, sql: str) -> str:
        """Fill `{keys}`, `{raw}`, … in SQL text; other braces stay as they are."""
        for name, real in self.schemas.items():
            sql = sql.replace("{" + name + "}", real)
        return sql

    def as_role(self, role: str) -> Shard:
        """The same shard, reached with the role of one of Larder's own parts instead of the administrator's."""
        if self.username == role:
            return self
        secret = hmac.new(self.password.encode(), role.encode(), hashlib.sha256).hexdigest()
        return replace(self, username=role, password=secret)

    @property
    def dsn(self) -> str:
        """`postgresql://…` with the password: never print it."""
        return postgres_url(self.username, self.password, self.host, self.port, self.database)

    @property
    def server_dsn(self) -> str:
        """`dsn` of the same server's database `postgres`, for what is the server's: roles, the making of databases.
        Never print it, either."""
        return postgres_url(self.username, self.password, self.host, self.port, "postgres")


@dataclass(frozen=True)
class Business:
    """A tenant, the shard it lives on, and the epoch of that placement."""

    id: int
    name: str
    display_name: str
    shard: str
    epoch: int
    first_weekday: int
    reporting_currency: str


@dataclass(frozen=True)
class Source:
    """One business's connection to one integration. `config` holds nothing secret."""

    id: int
    business: int
    business_name: str
    shard: str
    integration: str
    name: str
    config: Mapping[str, Any]
    secret_ref: str | None
    state: str

    @property
    def label(self) -> str:
        """`business/name`, as commands take it."""
        return f"{self.business_name}/{self.name}"
