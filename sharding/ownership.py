"""Who owns what in a database, and giving it back to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

_OWNED = """
    with owned (kind, name, owner, schema, catalog, oid) as (
        select 'schema', format('%I', nspname), nspowner, nspname, 'pg_namespace'::regclass, oid from pg_namespace
        union all
        select
            case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                else 'table' end,
            format('%I.%I', n.nspname, c.relname), c.relowner, n.nspname, 'pg_class'::regclass, c.oid
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm', 'S') and not exists (  -- a column's sequence is its table's owner's
            select from pg_depend as d
            where d.classid = 'pg_class'::regclass and d.objid = c.oid and c.relkind = 'S' and d.deptype in ('a', 'i')
        )
        union all
        select
            'routine', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
            p.proowner, n.nspname, 'pg_proc'::regclass, p.oid
        from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
        union all
        select 'type', format('%I.%I', n.nspname, t.typname), t.typowner, n.nspname, 'pg_type'::regclass, t.oid
        from pg_type as t inner join pg_namespace as n on n.oid = t.typnamespace
        where t.typtype in ('d', 'e', 'r')
            or exists (select from pg_class as c where c.oid = t.typrelid and c.relkind = 'c')
    )
    select kind, name, pg_get_userbyid(owner), schema from owned
    where schema !~ '^(pg_|information_schema$)' and owner <> 'pg_database_owner'::regrole and not exists (
        select from pg_depend as d where d.classid = owned.catalog and d.objid = owned.oid and d.deptype = 'e'
    )
    order by kind <> 'schema', kind, name
"""


@dataclass(frozen=True)
class Owned:
    """A schema, or a table, view, sequence, routine or type in one. `name` is quoted as SQL wants it."""

    kind: str
    name: str
    owner: str
    schema: str


def owned(cursor: Cursor) -> list[Owned]:
    """What is in a database besides Postgres' own and what extensions brought, schemas first."""
    cursor.execute(_OWNED)
    return [Owned(*row) for row in cursor.fetchall()]


def give(cursor: Cursor, things: Iterable[Owned]) -> None:
    """Make each thing its owner's; whoever does it is in both roles."""
    for one in things:
        statement = sql.SQL("alter {} {} owner to {}")
        cursor.execute(statement.format(sql.SQL(one.kind), sql.SQL(one.name), sql.Identifier(one.owner)))
