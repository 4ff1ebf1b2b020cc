"""The views `<stream>_slice`: what raw.slice names, planned for as many records as it names."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import psycopg2

from sharding.ids import make_id
from sharding.model import Shard

SOURCE = make_id(7, 1)
RECORDS = """
with versions as (
    insert into raw_till.{stream} (version_id, source_id, natural_key, operation, modified_at, observed_at, generation,
        ordinal, hash, payload)
    select {first} + n, %(source)s, '{stream}' || n, case when n %% 100 = 0 then 'D' else 'U' end, now(), now(), 1, n,
        gen_random_uuid(), jsonb_build_object('sale', 'sales' || n)
    from generate_series(1, 3000) as n
    returning *
)
insert into raw.head (source_id, stream, natural_key, version_id, hash, modified_at, observed_at, block_id, ordinal,
    generation, last_seen_at, is_deleted)
select source_id, '{stream}', natural_key, version_id, hash, modified_at, observed_at, gen_random_uuid(), 1, 1, now(),
    operation = 'D'
from versions
"""


def test_slices_of_many_records_are_not_gone_through_one_within_the_other(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute("insert into keys.route (business, name, display_name) values (7, 'b', 'B')")
        cursor.execute("insert into keys.source (id, integration, name) values (%s, 'till', 'till')", (SOURCE,))
        for number, stream in enumerate(("sales", "lines")):
            cursor.execute("select raw.ensure_stream('till', %s)", (stream,))
            cursor.execute(RECORDS.format(stream=stream, first=number * 10_000), {"source": SOURCE})
        cursor.execute("analyze raw.head, raw_till.sales, raw_till.lines")
        cursor.execute(
            "insert into raw.slice select source_id, natural_key from raw.head where version_id %% 10000 <= %s",
            (2_000,),
        )
        joined = """
            select line.natural_key from raw_till.lines_slice as line
            inner join raw_till.sales_slice as sale
                on sale.source_id = line.source_id and sale.natural_key = line.payload ->> 'sale'
        """
        cursor.execute(joined)
        assert len(cursor.fetchall()) == 1_980, "all but those that are deleted"
        cursor.execute("explain (format json) " + joined)
        [(explained,)] = cursor.fetchall()
        plan = (explained if isinstance(explained, list) else json.loads(explained))[0]["Plan"]
        assert plan["Node Type"] in ("Hash Join", "Merge Join"), _short(plan)
        assert all(side["Plan Rows"] > 1_000 for side in plan["Plans"]), _short(plan)
        conn.rollback()


def _short(plan: dict[str, Any], depth: int = 0) -> str:
    own = f"\n{'  ' * depth}{plan['Node Type']}, {plan['Plan Rows']} rows"
    return own + "".join(_short(part, depth + 1) for part in plan.get("Plans", ()))
