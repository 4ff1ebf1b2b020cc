"""How each shard is, looked at from outside: whether it answers, what is in quarantine, what its readers asked.

A sample is kept in the control database, for metrics, status and checks; nobody who reads it waits for a shard.
Readers' totals are kept every ten minutes at most, and only where they moved.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg2
import psycopg2.extras
from psycopg2.extras import Json

from ingestion import index
from sharding import statements
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import INSPECTOR, Shard
from sharding.statements import Usage

SIDE_BY_SIDE = 16
KEEP = timedelta(days=7)
"""Of what readers asked."""
READERS_EVERY = timedelta(minutes=10)
_TIMEOUT = "-c statement_timeout=5s -c default_transaction_read_only=on"


@dataclass(frozen=True)
class Sample:
    """How a shard was. `error`: why it did not answer. `quarantined`: open records by integration. `statements`: why
    there are no statistics of its statements."""

    shard: str
    error: str | None = None
    milliseconds: float | None = None
    quarantined: Mapping[str, int] = field(default_factory=dict)
    statements: str | None = None


def take(catalogue: Catalogue) -> list[Sample]:
    """Look at every shard and keep what was seen. One that does not answer delays the others by its timeout at most."""
    shards = catalogue.shards()
    with ThreadPoolExecutor(max_workers=max(1, min(SIDE_BY_SIDE, len(shards)))) as pool:
        seen = {sample.shard: sample for sample in pool.map(_look, shards)}
        servers: dict[str, list[Shard]] = defaultdict(list)
        for shard in shards:
            if seen[shard.name].error is None:
                servers[shard.instance].append(shard)
        asked = list(pool.map(_asked, servers.values()))
    usage: list[tuple[Shard, Usage]] = []
    for on_server, (found, missing) in zip(servers.values(), asked, strict=True):
        first = {shard.database: shard for shard in reversed(on_server)}  # of namespaces of one database the first
        usage += [(first[one.database], one) for one in found]
        for shard in on_server if missing else ():
            sample = seen[shard.name]
            seen[shard.name] = Sample(shard.name, None, sample.milliseconds, sample.quarantined, missing)
    _keep(catalogue, list(seen.values()), usage)
    return list(seen.values())


def _look(shard: Shard) -> Sample:
    at, began = shard.as_role(INSPECTOR), time.monotonic()
    try:
        session = psycopg2.connect(at.dsn, connect_timeout=statements.CONNECT_SECONDS, options=_TIMEOUT)
        with closing(session) as conn, conn.cursor() as cur:
            cur.execute(
                shard.render(
                    "select s.integration, count(*) from {raw}.quarantine as q"
                    " inner join {keys}.source as s on s.id = q.source_id where q.state = 'open' group by 1"
                )
            )
            quarantined = dict(cur.fetchall())
    except psycopg2.Error as error:
        return Sample(shard.name, " ".join(str(error).split()))
    return Sample(shard.name, None, (time.monotonic() - began) * 1000, quarantined)


def _asked(on_server: Sequence[Shard]) -> tuple[list[Usage], str | None]:
    try:
        return statements.usage(on_server[0], sorted({shard.database for shard in on_server})), None
    except LarderError as error:
        return [], error.cause
    except psycopg2.Error as error:
        return [], " ".join(str(error).split())


def _keep(catalogue: Catalogue, seen: Sequence[Sample], usage: Sequence[tuple[Shard, Usage]]) -> None:
    with closing(index.connect(catalogue.dsn)) as conn, conn, conn.cursor() as cur:
        psycopg2.extras.execute_values(
            cur,
            "insert into control.shard_samples as s (shard, error, milliseconds, quarantined, statements)"
            " select v.shard, v.error, v.milliseconds, v.quarantined, v.statements"
            " from (values %s) as v (shard, error, milliseconds, quarantined, statements)"
            " inner join control.shards using (shard) order by v.shard"
            " on conflict (shard) do update set sampled_at = clock_timestamp(), error = excluded.error,"
            " milliseconds = excluded.milliseconds, statements = excluded.statements,"
            " quarantined = case when excluded.error is null then excluded.quarantined else s.quarantined end",
            [(s.shard, s.error, s.milliseconds, Json(dict(s.quarantined)), s.statements) for s in seen],
            template="(%s, %s, %s::double precision, %s::jsonb, %s)",
        )
        if usage:
            psycopg2.extras.execute_values(
                cur,
                "insert into control.reader_samples (shard, reader, business, calls, total_ms, max_ms)"
                " select coalesce(b.shard, v.shard), v.reader, a.business, v.calls, v.total_ms, v.max_ms"
                " from (values %s) as v (shard, database, instance, reader, calls, total_ms, max_ms, every)"
                # a role of a business: of the shard where that lives, if this is its database
                " left join control.access as a on a.role = v.reader"
                " left join control.businesses as b on b.business = a.business and exists ("
                " select from control.shards as s where s.shard = b.shard and s.database = v.database"
                " and s.instance = v.instance)"
                " left join lateral (select r.calls, r.sampled_at from control.reader_samples as r"
                " where r.shard = coalesce(b.shard, v.shard) and r.reader = v.reader"
                " order by r.sampled_at desc limit 1) as last on true"
                " where last.calls is null"
                " or (last.calls <> v.calls and last.sampled_at <= clock_timestamp() - v.every)",
                [
                    (shard.name, shard.database, shard.instance, one.reader, one.calls, one.total_ms, one.max_ms,
                     READERS_EVERY)
                    for shard, one in usage
                ],
                template="(%s, %s, %s, %s, %s::bigint, %s::double precision, %s::double precision, %s::interval)",
            )  # fmt: skip
        cur.execute("delete from control.reader_samples where sampled_at < clock_timestamp() - %s", (KEEP,))
