"""What a shard's server says of its tables, indexes, transaction ids and of who holds them back.

Read as the inspector, in queries that cannot keep anybody waiting. Sizes of what is dead are estimates from Postgres'
own statistics; where the extension pgstattuple is in the database, tables that seem bloated are counted instead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sharding.model import Shard
from sharding.query import read_only

_PAGE = 8192
_PAGE_ROOM = 8168  # without its header
_ROW = 28  # header and line pointer
_ENTRY = 16  # of an index: header and line pointer, aligned
_INDEX_FILL = 0.9
_WORTH_COUNTING = 256 << 10


@dataclass(frozen=True)
class Table:
    """A table by the counters of the server. `width`: of a row on average; None: not analyzed, or empty when it was."""

    schema: str
    name: str
    owner: str
    bytes: int
    pages: int
    rows: float
    live: int
    dead: int
    changed: int
    inserted: int
    age: int
    width: float | None
    fillfactor: int

    @property
    def at(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.name}"

    @property
    def bloat(self) -> int:
        """Bytes of its main part that rows as it has now would not need, estimated."""
        if self.width is None or self.rows < 0:
            return 0
        needed = self.rows * (self.width + _ROW) / (_PAGE_ROOM * self.fillfactor / 100)
        return max(0, self.pages - int(needed) - 1) * _PAGE


@dataclass(frozen=True)
class Index:
    """An index. `enforces`: it is unique or of a constraint, so it is needed also where nobody reads by it."""

    schema: str
    table: str
    name: str
    bytes: int
    scans: int
    enforces: bool
    is_valid: bool
    rows: float
    width: float | None

    @property
    def at(self) -> str:
        """`schema.index`."""
        return f"{self.schema}.{self.name}"

    @property
    def bloat(self) -> int:
        """Bytes that its entries would not need if it were made anew, estimated."""
        if self.width is None or self.rows < 0:
            return 0
        needed = self.rows * (self.width + _ENTRY) / (_PAGE_ROOM * _INDEX_FILL)
        return max(0, self.bytes // _PAGE - int(needed) - 2) * _PAGE


@dataclass(frozen=True)
class Holder:
    """Who keeps dead rows from being collected. `age`: transactions since what it may still see."""

    kind: str  # session, prepared, slot, replica
    who: str
    age: int
    seconds: float
    kept_bytes: int
    remedy: str


@dataclass(frozen=True)
class Facts:
    """One look at a shard.

    Attributes:
        xid_age: of the oldest transaction id that some table of this database still has.
        freeze_at: the age at which autovacuum freezes whether or not there is anything to collect.
        counted_since: when the counters of scans began.
        landing: landing slots that hold rows: schema → bytes.
        stale: models that have been behind their feeds, since when.
        leftovers: relations that dbt left behind.
        counted: bytes of tables that hold nothing, where that could be counted.
    """

    tables: tuple[Table, ...]
    indexes: tuple[Index, ...]
    catalog: tuple[Table, ...]
    xid_age: int
    multixact_age: int
    freeze_at: int
    holders: tuple[Holder, ...]
    counted_since: datetime | None
    now: datetime
    landing: Mapping[str, int]
    stale: Mapping[str, datetime]
    leftovers: tuple[str, ...]
    bytes: int
    counted: Mapping[str, int] = field(default_factory=dict)

    def bloat(self, table: Table) -> int:
        """Bytes of a table that hold nothing: counted, else estimated."""
        return self.counted.get(table.at, table.bloat)


def look(shard: Shard, timeout: float = 5.0) -> Facts:
    """Look at a shard; no query takes longer than `timeout` seconds.

    Raises:
        LarderError: it does not answer, or not in time.
    """

    def ask(query: str) -> list[dict[str, Any]]:
        found = read_only(shard, query, timeout)
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

    [about] = ask(_ABOUT)
    stale = {}
    if about["has_marks"]:
        query = "select model, stale_since from {meta}.mark where stale_since is not null"
        stale = {row["model"]: row["stale_since"] for row in ask(query)}
    tables = tuple(Table(**row) for row in ask(_TABLES.replace("<catalog>", "<>")))
    return Facts(
        tables=tables,
        indexes=tuple(Index(**row) for row in ask(_INDEXES)),
        catalog=tuple(Table(**row) for row in ask(_TABLES.replace("<catalog>", "="))),
        xid_age=about["xid_age"],
        multixact_age=about["multixact_age"],
        freeze_at=about["freeze_at"],
        holders=tuple(Holder(**row) for row in ask(_HOLDERS)),
        counted_since=about["counted_since"],
        now=about["now"],
        landing={row["schema"]: row["bytes"] for row in ask(_LANDING)},
        stale=stale,
        leftovers=tuple(row["name"] for row in ask(_LEFTOVERS)),
        bytes=about["bytes"],
        counted=_counted(shard, [table for table in tables if table.bloat > _WORTH_COUNTING], timeout),
    )


def _counted(shard: Shard, tables: Sequence[Table], timeout: float) -> dict[str, int]:
    """Bytes free or dead in tables, by the extension pgstattuple where the inspector may; else none."""
    query = "select oid from pg_proc where proname = 'pgstattuple_approx' and has_function_privilege(oid, 'execute')"
    if not tables or not read_only(shard, query, timeout).rows:
        return {}
    found = {}
    give_up = time.monotonic() + timeout
    for table in tables:
        if (left := give_up - time.monotonic()) <= 0:
            break
        name = f"format('%I.%I', '{table.schema}', '{table.name}')::regclass"
        query = f"select (dead_tuple_len + approx_free_space)::bigint from pgstattuple_approx({name})"
        [(found[table.at],)] = read_only(shard, query, left).rows
    return found


_ABOUT = """
    select
        age(d.datfrozenxid) as xid_age, mxid_age(d.datminmxid) as multixact_age,
        current_setting('autovacuum_freeze_max_age')::int as freeze_at,
        s.stats_reset as counted_since, clock_timestamp() as now, pg_database_size(d.oid) as bytes,
        to_regclass('{meta}.mark') is not null as has_marks
    from pg_database as d left join pg_stat_database as s on s.datid = d.oid
    where d.datname = current_database()
"""

# pg_stats would hide what row security covers from the inspector.
_TABLES = """
    select
        n.nspname as schema, c.relname as name, pg_get_userbyid(c.relowner) as owner,
        pg_total_relation_size(c.oid) as bytes, c.relpages as pages, c.reltuples as rows,
        coalesce(s.n_live_tup, 0) as live, coalesce(s.n_dead_tup, 0) as dead,
        coalesce(s.n_mod_since_analyze, 0) as changed, coalesce(s.n_ins_since_vacuum, 0) as inserted,
        greatest(age(c.relfrozenxid), age(t.relfrozenxid)) as age,
        (select sum((1 - a.stanullfrac) * a.stawidth)::float8 from pg_statistic as a
         where a.starelid = c.oid and not a.stainherit) as width,
        coalesce((
            select option_value::int from pg_options_to_table(c.reloptions) where option_name = 'fillfactor'
        ), 100) as fillfactor
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    left join pg_class as t on t.oid = c.reltoastrelid
    left join pg_stat_all_tables as s on s.relid = c.oid
    where c.relkind in ('r', 'm') and c.relpersistence <> 't' and n.nspname <catalog> 'pg_catalog'
        and n.nspname <> 'information_schema'
        and not c.relisshared  -- the server's, whose vacuum takes a superuser: autovacuum's alone
        and n.nspname not like replace('{raw}', '_', '\\_') || '\\_landing\\_%'
    order by 1, 2
"""

_INDEXES = """
    select
        n.nspname as schema, t.relname as "table", c.relname as name, pg_relation_size(c.oid) as bytes,
        coalesce(s.idx_scan, 0) as scans,
        i.indisunique or exists (select from pg_constraint as k where k.conindid = c.oid) as enforces,
        i.indisvalid as is_valid, c.reltuples as rows,
        case when am.amname = 'btree' and 0 <> all (i.indkey::int2[]) then (
            select sum(a.stawidth)::float8 from pg_statistic as a
            where a.starelid = t.oid and not a.stainherit and a.staattnum = any (i.indkey)
        ) end as width
    from pg_index as i
    inner join pg_class as c on c.oid = i.indexrelid
    inner join pg_am as am on am.oid = c.relam
    inner join pg_class as t on t.oid = i.indrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    left join pg_stat_all_indexes as s on s.indexrelid = c.oid
    where n.nspname not in ('pg_catalog', 'information_schema') and t.relkind in ('r', 'm')
        and c.relpersistence <> 't'
    order by 1, 3
"""

_HOLDERS = """
    select
        'session' as kind, format('%s, pid %s, %s', usename, pid, coalesce(nullif(application_name, ''), state)) as who,
        coalesce(greatest(age(backend_xmin), age(backend_xid)), 0) as age,
        extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, 0::bigint as kept_bytes,
        format('select pg_terminate_backend(%s)', pid) as remedy
    from pg_stat_activity
    where xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
        and (datname = current_database() or backend_xid is not null)
    union all
    select
        'prepared', format('%s of %s', gid, owner), age(transaction),
        extract(epoch from clock_timestamp() - prepared)::float8, 0, format('rollback prepared %L', gid)
    from pg_prepared_xacts
    union all
    select
        'slot', format('%s (%s)', slot_name, case when active then 'active' else 'nobody reads it' end),
        coalesce(greatest(age(xmin), age(catalog_xmin)), 0), 0,
        coalesce(pg_wal_lsn_diff(
            case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn
        ), 0)::bigint,
        format('select pg_drop_replication_slot(%L)', slot_name)
    from pg_replication_slots
    union all
    select
        'replica', format('%s at %s', application_name, client_addr), coalesce(age(backend_xmin), 0), 0, 0,
        'look at its long queries, or set hot_standby_feedback = off there'
    from pg_stat_replication where backend_xmin is not null
    order by 3 desc
"""

_LANDING = """
    select n.nspname as schema, pg_relation_size(c.oid) as bytes
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.relname = 'landing' and n.nspname like replace('{raw}', '_', '\\_') || '\\_landing\\_%'
        and pg_relation_size(c.oid) > 0
    order by 1
"""

_LEFTOVERS = """
    select c.oid::regclass::text as name
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'v', 'm') and c.relname ~ '__dbt_(tmp|backup)' and c.relpersistence <> 't'
        and n.nspname in ('{staging}', '{intermediate}', '{marts}', '{bi}', '{slices}', '{keys}', '{meta}')
    order by 1
"""
