"""The catalogue: who lives on which database, and which sources are read. Kept in the control database.

A business and a source are written in two databases. The shard's row is committed first and repeating the command
finds it again, so a crash between the two leaves nothing to clean up by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from sharding.credentials import read_credentials, read_secret
from sharding.errors import LarderError
from sharding.ids import MAX_BUSINESS, business_of, id_range
from sharding.model import ROUTER, Address, Business, Instance, Shard, Source
from sharding.names import check_name, check_shown, check_text
from sharding.settings import get_settings

__all__ = ["Business", "Catalogue", "Instance", "Shard", "Source"]

T = TypeVar("T")

_SHARDS = """
    select s.shard, s.instance, s.database, s.namespace, i.host, i.port, i.username, i.secret_ref, s.state,
        array(select r.host from control.replicas as r where r.instance = s.instance order by r.host, r.port),
        array(select r.port from control.replicas as r where r.instance = s.instance order by r.host, r.port)
    from control.shards as s inner join control.instances as i using (instance)
"""
_BUSINESSES = """
    select business, name, display_name, shard, epoch, first_weekday, reporting_currency from control.businesses
"""
_SOURCES = """
    select s.source_id, s.business, b.name, b.shard, s.integration, s.name, s.config, s.secret_ref, s.state
    from control.sources as s inner join control.businesses as b using (business)
"""


class Catalogue:
    """Reads and writes of the control database's catalogue. Holds no connection and no cache between calls."""

    def __init__(self, dsn: str, home: Path | None = None) -> None:
        """
        Args:
            dsn: the control database.
            home: where relative `file:` secrets are; default: the settings of this process.
        """
        self.dsn = dsn
        self.home = home or get_settings().home

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection to the control database: committed at the end, rolled back on an error, always closed."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection:
            yield connection

    # -- instances and shards ----------------------------------------------------------------------------------------

    def instances(self) -> list[Instance]:
        """All instances, by name."""
        query = "select instance, kind, host, port, username, secret_ref from control.instances order by instance"
        return self._read(query, (), lambda row: Instance(*row))

    def instance(self, name: str) -> Instance:
        """One instance by name."""
        return _found([i for i in self.instances() if i.name == name], "instance", name, "larder shard list")

    def add_instance(self, instance: Instance) -> Instance:
        """Add an instance, or change where it is reached (an embedded one's port can change between starts)."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                """
                insert into control.instances (instance, kind, host, port, username, secret_ref)
                values (%s, %s, %s, %s, %s, %s)
                on conflict (instance) do update set
                    kind = excluded.kind, host = excluded.host, port = excluded.port,
                    username = excluded.username, secret_ref = excluded.secret_ref
                """,
                (instance.name, instance.kind, instance.host, instance.port, instance.username, instance.secret_ref),
            )
        return instance

    def add_replica(self, instance: str, address: Address) -> None:
        """Tell where a streaming replica of an instance is reached; telling it twice does nothing."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into control.replicas (instance, host, port) values (%s, %s, %s) on conflict do nothing",
                (self.instance(instance).name, address.host, address.port),
            )

    def remove_replica(self, instance: str, address: Address) -> None:
        """Read no more from a replica."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "delete from control.replicas where instance = %s and host = %s and port = %s",
                (instance, address.host, address.port),
            )
            if not cursor.rowcount:
                raise LarderError(f"{instance} has no replica at {address}", "you", _LIST_SHARDS)

    def shards(self) -> list[Shard]:
        """All shards that are not retired, by name."""
        return self._read(_SHARDS + "where s.state <> 'retired' order by s.shard", (), self._shard)

    def shard(self, name: str) -> Shard:
        """One shard by name."""
        return _found(self._read(_SHARDS + "where s.shard = %s", (name,), self._shard), "shard", name, _LIST_SHARDS)

    def add_shard(self, name: str, instance: str, database: str, namespace: str = "") -> Shard:
        """Add a shard to the catalogue; `provision_shard` makes its database and schemas."""
        self.instance(instance)
        self._insert(
            "insert into control.shards (shard, instance, database, namespace) values (%s, %s, %s, %s)",
            (name, instance, database, namespace),
            f"shard {name!r}",
            _LIST_SHARDS,
        )
        return self.shard(name)

    def set_shard_state(self, name: str, state: Literal["active", "draining", "retired"]) -> Shard:
        """Open a shard for businesses, close it for new ones (`draining`), or take it out of every cycle (`retired`).

        Raises:
            LarderError: turn `you`: a shard that is to be retired still holds a business, or is on the way of one.
        """
        shard = self.shard(name)
        with self.connect() as connection, connection.cursor() as cursor:
            # No business comes or goes meanwhile.
            cursor.execute("lock table control.businesses, control.moves in share row exclusive mode")
            if state == "retired":
                cursor.execute(
                    "select name from control.businesses where shard = %(shard)s union"
                    " select b.name from control.moves as m inner join control.businesses as b using (business)"
                    " where %(shard)s in (m.from_shard, m.to_shard)"
                    " and m.state not in ('done', 'rolled_back', 'aborted') order by 1",
                    {"shard": name},
                )
                holding = [business for (business,) in cursor.fetchall()]
                if holding:
                    raise LarderError(
                        f"{name} still holds {', '.join(holding[:5])}{' …' if len(holding) > 5 else ''}",
                        "you",
                        f"larder business move {holding[0]} --to SHARD",
                    )
            cursor.execute("update control.shards set state = %s where shard = %s", (state, name))
        return self.shard(shard.name)

    # -- businesses --------------------------------------------------------------------------------------------------

    def businesses(self, shard: str | None = None) -> list[Business]:
        """All businesses, or those of one shard, by id."""
        query = _BUSINESSES + "where shard = coalesce(%s, shard) order by business"
        return self._read(query, (shard,), lambda row: Business(*row))

    def business(self, name_or_id: str | int) -> Business:
        """One business by name or number."""
        query = _BUSINESSES + "where name = %s or business::text = %s"
        key = str(name_or_id)
        return _found(self._read(query, (key, key), lambda row: Business(*row)), "business", key, _LIST_BUSINESSES)

    def add_business(
        self,
        name: str,
        display_name: str,
        shard: str,
        first_weekday: int = 1,
        reporting_currency: str = "USD",
        business: int | None = None,
    ) -> Business:
        """Place a new business on a shard.

        Args:
            first_weekday: ISO weekday its week begins on, 1 = Monday.
            business: its number, 0 … 2^19−1; default: the next free one.
        """
        check_name(name, "a business", _LIST_BUSINESSES)
        check_shown(display_name, f"the shown name of {name}", _LIST_BUSINESSES)
        target = self.shard(shard)
        if target.state != "active":
            raise LarderError(f"{shard} is {target.state}: it takes no new business", "you", _LIST_SHARDS)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("lock table control.businesses in share row exclusive mode")
            if business is None:
                cursor.execute(
                    "select coalesce(max(business), 0) + 1 from"
                    " (select business from control.businesses union select business from control.erasures) as given"
                )
                [(business,)] = cursor.fetchall()
            if not 0 <= business <= MAX_BUSINESS:
                raise LarderError(f"business {business} is outside 0 … {MAX_BUSINESS}", "config", _LIST_BUSINESSES)
            cursor.execute("select 1 from control.erasures where business = %s", (business,))
            if cursor.fetchone():
                raise LarderError(f"business {business} was erased: its number stays its own", "you", _LIST_BUSINESSES)
            _insert_on(
                cursor,
                """
                insert into control.businesses
                    (business, name, display_name, shard, first_weekday, reporting_currency)
                values (%s, %s, %s, %s, %s, %s)
                """,
                (business, name, display_name, shard, first_weekday, reporting_currency),
                f"business {name!r}",
                _LIST_BUSINESSES,
            )
            _place(target, business, name, display_name, first_weekday, reporting_currency)
        return self.business(name)

    # -- sources -----------------------------------------------------------------------------------------------------

    def sources(
        self, business: str | int | None = None, shard: str | None = None, integration: str | None = None
    ) -> list[Source]:
        """Sources, of one business, shard or integration where given, by business and name."""
        number = None if business is None else self.business(business).id
        query = (
            _SOURCES
            + """
            where s.business = coalesce(%s, s.business) and b.shard = coalesce(%s, b.shard)
                and s.integration = coalesce(%s, s.integration)
            order by s.business, s.name
        """
        )
        return self._read(query, (number, shard, integration), lambda row: Source(*row))

    def source(self, key: str | int) -> Source:
        """One source by id or by `business/name`."""
        query = _SOURCES + "where s.source_id::text = %s or b.name || '/' || s.name = %s"
        text = str(key)
        return _found(self._read(query, (text, text), lambda row: Source(*row)), "source", text, _LIST_SOURCES)

    def sources_of(self, ids: Sequence[int]) -> list[Source]:
        """The sources of these ids, in their order."""
        query = _SOURCES + "where s.source_id = any(%s) order by array_position(%s::bigint[], s.source_id)"
        return self._read(query, (list(ids), list(ids)), lambda row: Source(*row))

    def add_source(
        self,
        business: str | int,
        integration: str,
        name: str,
        config: Mapping[str, Any],
        secret_ref: str | None = None,
    ) -> Source:
        """Connect a business to an integration; its id is drawn on the shard, where the business's counter is."""
        check_name(name, "a source", _LIST_SOURCES)
        owner = self.business(business)
        check_text(dict(config), f"a setting of {owner.name}/{name}", _LIST_SOURCES)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("select 1 from control.sources where business = %s and name = %s", (owner.id, name))
            if cursor.fetchone():
                raise LarderError(f"source {owner.name}/{name} exists already", "you", _LIST_SOURCES)
            source_id = self._write_on_shard(
                owner.id, lambda shard, far: _draw_source(shard, far, owner.id, integration, name, config)
            )
            _insert_on(
                cursor,
                """
                insert into control.sources (source_id, business, integration, name, config, secret_ref)
                values (%s, %s, %s, %s, %s, %s)
                """,
                (source_id, owner.id, integration, name, Json(config), secret_ref),
                f"source {owner.name}/{name}",
                _LIST_SOURCES,
            )
        return self.source(source_id)

    def set_source_state(
        self, key: str | int, state: Literal["active", "paused"], by: str | None = None, reason: str | None = None
    ) -> Source:
        """Pause or resume the extraction of a source; a pause keeps who wanted it and why."""
        source = self.source(key)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                """
                update control.sources set state = %(state)s,
                    paused_at = case when %(state)s = 'paused' then clock_timestamp() end,
                    paused_by = case when %(state)s = 'paused' then %(by)s end,
                    paused_reason = case when %(state)s = 'paused' then %(reason)s end
                where source_id = %(source)s
                """,
                {"state": state, "by": by, "reason": reason, "source": source.id},
            )
        return self.source(source.id)

    def pauses(self) -> dict[int, str]:
        """Paused sources by id: since when, by whom and why, in words."""
        query = "select source_id, paused_at, paused_by, paused_reason from control.sources where state = 'paused'"
        rows = self._read(query, (), tuple)
        return {
            source: f"paused{f' since {at:%Y-%m-%d %H:%M}' if at else ''}{f' by {by}' if by else ''}"
            + (f": {reason}" if reason else "")
            for source, at, by, reason in rows
        }

    def set_source_config(self, key: str | int, config: Mapping[str, Any], secret_ref: str | None = None) -> Source:
        """Replace a source's config, and its secret's reference where one is given."""
        source = self.source(key)

        def write(shard: Shard, cursor: psycopg2.extensions.cursor) -> None:
            statement = shard.render("update {keys}.source set config = %s where id = %s")
            cursor.execute(statement, (Json(config), source.id))

        self._write_on_shard(source.business, write)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "update control.sources set config = %s, secret_ref = coalesce(%s, secret_ref) where source_id = %s",
                (Json(config), secret_ref, source.id),
            )
        return self.source(source.id)

    def password(self, instance: Instance) -> str:
        """An instance's secret, read now from where its reference points."""
        return read_secret(instance.secret_ref, self.home)

    def credentials(self, source: Source) -> dict[str, str]:
        """A source's secrets, read now from where its reference points."""
        return read_credentials(source.secret_ref, self.home)

    # ----------------------------------------------------------------------------------------------------------------

    def _write_on_shard(self, business: int, fn: Callable[[Shard, psycopg2.extensions.cursor], T]) -> T:
        """Call `fn` on the business's shard, behind the write gate; once more where it moves meanwhile."""
        from sharding.router import Router  # which needs this module

        router = Router(self)

        def write(connection: Connection) -> T:
            with connection.cursor() as cursor:
                return fn(router.shard_of(business), cursor)

        try:
            return router.run(business, write)
        finally:
            router.close()

    def _read(self, query: str, parameters: Sequence[Any], make: Callable[[tuple[Any, ...]], T]) -> list[T]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return [make(row) for row in cursor.fetchall()]

    def _insert(self, statement: str, parameters: Sequence[Any], what: str, next_command: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            _insert_on(cursor, statement, parameters, what, next_command)

    def _shard(self, row: tuple[Any, ...]) -> Shard:
        name, instance, database, namespace, host, port, username, secret_ref, state, hosts, ports = row
        password = read_secret(secret_ref, self.home)
        replicas = tuple(map(Address, hosts, ports))
        return Shard(name, instance, database, namespace, host, port, username, password, state, replicas)


_LIST_SHARDS = "larder shard list"
_LIST_BUSINESSES = "larder business list"
_LIST_SOURCES = "larder source list"


def _insert_on(
    cursor: psycopg2.extensions.cursor, statement: str, parameters: Sequence[Any], what: str, next_command: str
) -> None:
    try:
        cursor.execute(statement, parameters)
    except psycopg2.errors.UniqueViolation as error:
        raise LarderError(f"{what} exists already ({error.diag.message_detail})", "you", next_command) from error
    except psycopg2.errors.CheckViolation as error:
        rule = error.diag.constraint_name
        raise LarderError(
            f"{what} breaks the rule {rule} (lower-case letters, digits, _)", "you", next_command
        ) from error


def _found(rows: list[T], what: str, key: str, next_command: str) -> T:
    if not rows:
        raise LarderError(f"there is no {what} {key!r}", "you", next_command)
    return rows[0]


def _place(
    shard: Shard, business: int, name: str, display_name: str, first_weekday: int, reporting_currency: str
) -> None:
    """The shard's half of a new business: its route and its counter."""
    with closing(psycopg2.connect(shard.as_role(ROUTER).dsn)) as connection, connection, connection.cursor() as cursor:
        try:
            cursor.execute(
                shard.render("""
                insert into {keys}.route (business, name, display_name, first_weekday, reporting_currency)
                values (%s, %s, %s, %s, %s)
                on conflict (business) do update set
                    name = excluded.name, display_name = excluded.display_name,
                    first_weekday = excluded.first_weekday, reporting_currency = excluded.reporting_currency
                """),
                (business, name, display_name, first_weekday, reporting_currency),
            )
        except psycopg2.errors.ObjectInUse as error:  # another is being copied to it
            raise LarderError(str(error.diag.message_primary), "you", "larder business moves") from error
        cursor.execute(
            shard.render("insert into {keys}.counter (business) values (%s) on conflict do nothing"), (business,)
        )


def _draw_source(
    shard: Shard,
    cursor: psycopg2.extensions.cursor,
    business: int,
    integration: str,
    name: str,
    config: Mapping[str, Any],
) -> int:
    """The shard's half of a new source: its id. One that a crashed attempt left is taken over."""
    cursor.execute(
        shard.render("select id, integration from {keys}.source where id between %s and %s and name = %s"),
        (*id_range(business), name),
    )
    row = cursor.fetchone()
    if row and row[1] != integration:
        raise LarderError(f"{shard.name} knows source {name!r} of this business as {row[1]}", "you", "use another name")
    if row:
        return int(row[0])
    cursor.execute(
        shard.render("""
        insert into {keys}.source (id, integration, name, config)
        values ({keys}.reserve(%s, 1), %s, %s, %s) returning id
        """),
        (business, integration, name, Json(config)),
    )
    [(source_id,)] = cursor.fetchall()
    assert business_of(source_id) == business
    return int(source_id)
