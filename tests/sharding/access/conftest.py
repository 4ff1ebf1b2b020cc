"""A shard with two businesses, every model built, and a row of each business in every table there is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from orchestration.results import Job
from orchestration.transform import target_of
from sharding import instances
from sharding.access.tenants import Access, grant_access
from sharding.catalogue import Catalogue
from sharding.credentials import read_secret
from sharding.ids import make_id
from sharding.model import Instance, Shard, postgres_url
from tests.conftest import Server

if TYPE_CHECKING:
    from orchestration.dbt_worker import DbtProject

OURS, THEIRS = 300_000, 300_001
"""Above 2^18 their ids are negative; the other's begin where ours end."""
MARK = {OURS: "mark-of-ours", THEIRS: "mark-of-theirs"}
ROWS = 3


@dataclass(frozen=True)
class World:
    """The shard, and the roles of our business by what they may read."""

    catalogue: Catalogue
    shard: Shard
    bi: Access
    raw: Access
    superuser: str

    def connect(self, access: Access | None = None) -> Connection:
        """A session of a role; of the server's superuser, who can become any of them, where none is named."""
        if access is None:
            return psycopg2.connect(self.superuser)
        password = read_secret(access.secret_ref, self.catalogue.home)
        at = self.shard
        return psycopg2.connect(postgres_url(access.role, password, at.host, at.port, at.database))

    def admin(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def changed(self, statement: str, undo: str) -> Iterator[None]:
        """The shard with something taken away, and whole again afterwards."""
        self.admin(statement)
        try:
            yield
        finally:
            self.admin(undo)


@pytest.fixture(scope="session")
def world(server: Server, warehouse: DbtProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Built once, and filled below the models: what a role sees does not depend on how rows came."""
    home = tmp_path_factory.mktemp("access")
    control, database = server.copy_of("larder_control"), server.copy_of("shard")
    catalogue = Catalogue(server.dsn(control), home)
    at, secret = server.instance, instances.secret_path(server.instance.name, server.settings)
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))
    catalogue.add_shard("shard_1", at.name, database)
    shard = server.shard(database)
    for business, name in ((OURS, "cafe"), (THEIRS, "bar")):
        catalogue.add_business(name, MARK[business], "shard_1", business=business)
        catalogue.add_source(name, "data", "files", {"site": MARK[business]})
    here = Path.cwd()
    built = warehouse.build(Job(target_of(shard), select=("+path:dbt_project/models/marts",), tests=False))
    os.chdir(here)
    assert built.ok, built.error or [(node.name, node.message) for node in built.failed]
    bi, raw = grant_access(catalogue, "cafe"), None
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("create materialized view marts.some_totals as select * from marts.sum_sales_day")
        cursor.execute("create table marts.parts (id bigint, name text) partition by range (id)")
        cursor.execute("create table marts.part_1 partition of marts.parts default")
        cursor.execute("create view intermediate.everybody as select * from marts.fct_sale")
        cursor.execute("create sequence marts.counting")
        cursor.execute("select lo_from_bytea(0, %s)", (MARK[THEIRS].encode(),))
        fill(connection)
        cursor.execute("refresh materialized view marts.some_totals")
        cursor.execute("create schema if not exists custom")
        for business, name in ((OURS, "cafe"), (THEIRS, "cafe__north")):
            cursor.execute(
                f"create view custom.{name}__members as select * from raw.quarantine"
                f" where keys.business_of(source_id) = {business}"
            )
            cursor.execute("select keys.open_custom(%s::regclass, %s)", (f"custom.{name}__members", business))
        cursor.execute("select keys.open_custom(%s)", (OURS,))
    with closing(psycopg2.connect(shard.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("analyze")
    # A second role for the same rows: a business has one, so this one is made beside the catalogue.
    raw = Access("cafe", "shard_1", "t_reads_raw", bi.secret_ref, True, None, "")
    with closing(psycopg2.connect(shard.dsn)) as connection, connection, connection.cursor() as cursor:
        password = read_secret(bi.secret_ref, home)
        cursor.execute("create role t_reads_raw login in role larder_tenant_raw password %s", (password,))
        cursor.execute(f'grant connect on database "{database}" to t_reads_raw')
        cursor.execute("alter table keys.tenant drop constraint tenant_business_key")
        cursor.execute("insert into keys.tenant values ('t_reads_raw', %s, true)", (OURS,))
    yield World(catalogue, shard, bi, raw, server.superuser_dsn(database))
    server.drop(database)
    server.drop(control)
    server.execute("drop role t_reads_raw")
    server.execute(f"drop role {bi.role}")


def fill(connection: Connection) -> None:
    """Rows of both businesses in every table, whatever its columns: ids with the business's bits, texts with its mark.
    A table that comes to the project later is filled too."""
    with connection.cursor() as cursor:
        cursor.execute("set local session_replication_role = replica")
        cursor.execute(
            """
            select c.oid::regclass::text, array_agg(a.attname::text order by a.attnum),
                array_agg(format_type(a.atttypid, null) order by a.attnum)
            from pg_class as c inner join pg_attribute as a on a.attrelid = c.oid
            inner join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'r' and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
                and c.oid::regclass::text not in
                    ('keys.route', 'keys.tenant', 'keys.schema_version', 'keys.schema_history', 'marts.dim_date')
            group by c.oid order by 1
            """
        )
        for table, columns, types in cursor.fetchall():
            cursor.execute(
                "select conname from pg_constraint where conrelid = %s::regclass and contype in ('c', 'f')", (table,)
            )
            for (constraint,) in cursor.fetchall():
                cursor.execute(sql.SQL("alter table {} drop constraint {}").format(
                    sql.SQL(table), sql.Identifier(constraint)))  # fmt: skip
            for number in range(1, ROWS + 1):
                for business in (OURS, THEIRS):
                    _insert(cursor, table, columns, [_value(c, t, business, number)
                                                     for c, t in zip(columns, types, strict=True)])  # fmt: skip


def _insert(cursor: Any, table: str, columns: Sequence[str], values: Sequence[Any]) -> None:
    cursor.execute(
        sql.SQL("insert into {} ({}) values ({}) on conflict do nothing").format(
            sql.SQL(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        ),
        list(values),
    )


def _value(column: str, type_: str, business: int, number: int) -> Any:
    mark = f"{MARK[business]} {number}"
    if type_ == "bigint":
        return make_id(business, number) if column == "id" or column.endswith("_id") else 900_000 + business + number
    if type_ == "uuid":
        return f"00000000-0000-0000-0000-{business:08d}{number:04d}"
    if column == "business":
        return business
    known: dict[str, Any] = {
        "integer": number, "smallint": number, "numeric": f"0.{number}", "boolean": False,
        "date": f"2025-01-{number:02d}", "jsonb": f'{{"note": "{mark}"}}', "text[]": [mark], "interval": "1 hour",
        "timestamp with time zone": "2025-01-01T00:00:00Z", "timestamp without time zone": "2025-01-01T00:00:00",
        "character": "U", "xid8": "3", "pg_snapshot": "10:10:", "time without time zone": "10:00",
        "double precision": 1.5, "bytea": mark.encode(), "name": mark, "character varying": mark, "text": mark,
        "bigint[]": [make_id(business, number)], "date[]": [f"2025-01-{number:02d}"], "oid": number,
    }  # fmt: skip
    return "{}" if type_ not in known and type_.endswith(("range", "[]")) else known[type_]
