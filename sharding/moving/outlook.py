"""What a move would do, and what is in its way: looked up, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from sharding.catalogue import Catalogue
from sharding.migrate import shard_drift
from sharding.model import Business, Shard
from sharding.moving import copying, indexes
from sharding.moving.layout import moved_tables
from sharding.moving.stages import route_state


@dataclass(frozen=True)
class Plan:
    """What a move would do. `obstacles`: what is in the way, each with what helps."""

    business: Business
    from_shard: str
    to_shard: str
    tables: dict[str, int]
    bytes: int
    seconds: float
    obstacles: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows to be copied."""
        return sum(self.tables.values())


def outlook(catalogue: Catalogue, business: Business, to_shard: str) -> Plan:
    """Count the rows and bytes of a business, and see whether it could move."""
    from_, to = catalogue.shard(business.shard), catalogue.shard(to_shard)
    with closing(copying.connect(from_)) as source, closing(copying.connect(to)) as target:
        counts, size = {}, 0
        for table in moved_tables(source, from_):
            with source, source.cursor() as cursor:
                cursor.execute(
                    sql.SQL("select count(*), coalesce(sum(pg_column_size(here)), 0) from {} as here where {}").format(
                        table.at(from_), sql.SQL("here.") + table.rows_of(business.id)
                    )
                )
                [(count, bytes_)] = cursor.fetchall()
            if count:
                counts[table.name], size = int(count), size + int(bytes_)
        in_the_way = tuple(obstacles(business, from_, to, target))
    return Plan(business, from_.name, to.name, counts, size, 2 + sum(counts.values()) / 50_000, in_the_way)


def obstacles(business: Business, from_: Shard, to: Shard, target: Connection) -> Iterator[str]:
    """What is in the way of a move, each with what helps."""
    if from_.name == to.name:
        yield "it lives there already"
        return
    if to.state != "active":
        yield f"{to.name} is {to.state}"
    for shard in (from_, to):
        if shard_drift(shard):
            yield f"{shard.name} is not at this checkout's schema version (larder up)"
            return
    if route_state(target, to, business.id) is not None:
        yield f"{to.name} still has rows of it (larder business moves)"
    if (other := indexes.filled_by(target, to)) not in (None, business.id):
        yield f"business {other} is being copied to {to.name}, which takes no other until that is done"
