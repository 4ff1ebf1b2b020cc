"""What is known of causes, in the control database: one row a cause until it is healed, and whom it affects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor, execute_values

from orchestration.notices.causes import Cause, Step, Well

KEPT_DAYS = 90  # of what is over

_MEET = """
insert into control.notices as n (fingerprint, step, class, subject, cause, command, run_id, reason)
values (%(fingerprint)s, %(step)s, %(class)s, %(subject)s, %(cause)s, %(command)s, %(run)s, %(reason)s)
on conflict (fingerprint) where healed_at is null do update
set last_seen = clock_timestamp(), seen = n.seen + 1, run_id = coalesce(excluded.run_id, n.run_id)
returning notice
"""
_AFFECT = """
insert into control.notice_affected as a (notice, who, part, source_id, records)
select v.notice, v.who, v.part, s.source_id, v.records
from (values %s) as v (notice, who, part, records)
left join control.businesses as b on b.name = split_part(v.who, '/', 1)
left join control.sources as s on s.business = b.business and s.name = split_part(v.who, '/', 2)
order by 1, 2, 3
on conflict (notice, who, part) do update
set last_seen = clock_timestamp(), ended_at = null, ended = null, source_id = excluded.source_id,
    records = excluded.records
"""
# Whoever fails for another reason now is no longer affected by the one before; of records each reason has its own.
_MOVED = """
update control.notice_affected as a set ended_at = clock_timestamp(), ended = 'another cause'
from control.notices as n
where n.notice = a.notice and n.step = %(step)s and n.healed_at is null and a.ended_at is null
    and n.reason is null and n.notice <> %(notice)s and (a.who, a.part) in (select * from unnest(%(who)s, %(part)s))
    and (%(step)s not in ('model', 'test', 'reconcile', 'fresh') or n.subject = %(subject)s)
"""
_SOURCES_HEALED = """
update control.notice_affected as a
set ended_at = clock_timestamp(), ended = case when s.state = 'active' then 'healed' else 'paused' end
from control.notices as n, control.sources as s
where n.notice = a.notice and n.step = 'extract' and n.healed_at is null and a.ended_at is null
    and s.source_id = a.source_id
    and (
        s.state <> 'active'
        or exists (
            select from control.extraction_log as l
            where l.source_id = a.source_id and (a.part = '' or l.stream = a.part)
                and l.outcome <> 'failed' and l.finished_at > a.last_seen
        )
    )
"""
_BLOCKS_HEALED = """
update control.notice_affected as a set ended_at = clock_timestamp(), ended = 'healed'
from control.notices as n
where n.notice = a.notice and n.step = 'load' and n.healed_at is null and a.ended_at is null
    and not exists (
        select from control.block_failures as f
        inner join control.blocks as b on b.block_id = f.block_id
        where b.source_id = a.source_id and b.stream = a.part
    )
"""
_WELL = """
update control.notice_affected as a set ended_at = clock_timestamp(), ended = 'healed'
from control.notices as n, (values %s) as v (step, subject, who)
where n.notice = a.notice and n.healed_at is null and a.ended_at is null
    and n.step = v.step and a.who = v.who and (v.subject is null or n.subject = v.subject)
"""
_GONE = """
update control.notice_affected as a set ended_at = clock_timestamp(), ended = v.ended
from control.notices as n, (values %s) as v (fingerprint, who, part, ended)
where n.notice = a.notice and n.fingerprint = v.fingerprint and n.healed_at is null
    and a.who = v.who and a.part = v.part and a.ended_at is null
"""
_OVER = """
update control.notices as n set healed_at = clock_timestamp()
where n.healed_at is null
    and not exists (select from control.notice_affected as a where a.notice = n.notice and a.ended_at is null)
"""


def meet(conn: Connection, causes: Sequence[Cause], run_id: str | None = None) -> None:
    """Note causes that a cycle or run met, each once whatever the number of its streams, sources and retries."""
    groups: dict[str, list[Cause]] = {}
    for cause in causes:
        groups.setdefault(cause.fingerprint, []).append(cause)
    with conn, conn.cursor() as cur:
        for fingerprint, met in sorted(groups.items()):
            first = met[0]
            values = {
                "fingerprint": fingerprint, "step": first.step, "class": first.kind, "subject": first.subject,
                "cause": first.text, "command": first.command, "run": run_id, "reason": first.reason or None,
            }  # fmt: skip
            cur.execute(_MEET, values)
            [(notice,)] = cur.fetchall()
            affected = {(cause.who, cause.part): cause.records for cause in met}
            rows = [(notice, *each, records) for each, records in sorted(affected.items())]
            execute_values(cur, _AFFECT, rows, "(%s, %s, %s, %s::bigint)")
            who, part = [each[0] for each in affected], [each[1] for each in affected]
            cur.execute(_MOVED, {**values, "notice": notice, "who": who, "part": part})


def heal(conn: Connection, well: Well | None = None) -> None:
    """Note what is over: by what was seen working now, and by what the control database says of sources and blocks."""
    well = well or Well()
    rows: list[tuple[str, str | None, str]] = [("shard", None, shard) for shard in sorted(well.shards)]
    rows += [(step, node, shard) for shard, node in sorted(well.nodes) for step in ("model", "test")]
    rows += [(step, None, who) for step, who in sorted(well.others)]
    with conn, conn.cursor() as cur:
        cur.execute("select exists (select from control.notices where healed_at is null)")
        if cur.fetchall() == [(False,)]:
            return
        cur.execute(_SOURCES_HEALED)
        cur.execute(_BLOCKS_HEALED)
        if rows:
            execute_values(cur, _WELL, rows, "(%s, %s::text, %s)")
        if well.gone:
            gone = [(cause.fingerprint, cause.who, cause.part, ended) for cause, ended in well.gone]
            execute_values(cur, _GONE, gone)
        cur.execute(_OVER)


def now_only(conn: Connection, step: Step, causes: Sequence[Cause], run_id: str | None = None) -> None:
    """Note all that fails of a step now; what failed of it before and is not among them is healed, or is told of
    otherwise."""
    meet(conn, causes, run_id)
    elsewhere = failing(conn)
    with conn, conn.cursor() as cur:
        cur.execute(
            "select n.fingerprint, a.who from control.notices as n"
            " inner join control.notice_affected as a using (notice)"
            " where n.step = %s and n.healed_at is null and a.ended_at is null",
            (step,),
        )
        gone = sorted(set(cur.fetchall()) - {(cause.fingerprint, cause.who) for cause in causes})
        if not gone:
            return
        rows = [(*each, "another cause" if each[1] in elsewhere else "healed") for each in gone]
        execute_values(
            cur,
            "update control.notice_affected as a set ended_at = clock_timestamp(), ended = v.ended"
            " from control.notices as n, (values %s) as v (fingerprint, who, ended)"
            " where n.notice = a.notice and n.fingerprint = v.fingerprint and a.who = v.who and n.healed_at is null"
            " and a.ended_at is null",
            rows,
        )
        cur.execute(_OVER)


def set_aside(conn: Connection) -> dict[str, tuple[tuple[int, str, str], ...]]:
    """Shard → the (source, stream, reason) of whose records in quarantine somebody was told, and that are not over."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select b.shard, a.source_id, a.part, n.reason from control.notices as n"
            " inner join control.notice_affected as a using (notice)"
            " inner join control.sources as s using (source_id) inner join control.businesses as b using (business)"
            " where n.reason is not null and n.healed_at is null and a.ended_at is null order by 1, 2, 3, 4"
        )
        found: dict[str, tuple[tuple[int, str, str], ...]] = {}
        for shard, *group in cur.fetchall():
            found[shard] = (*found.get(shard, ()), (group[0], group[1], group[2]))
        return found


def failing(conn: Connection) -> set[str]:
    """Sources and shards of which a failure is told: whatever else is late of them is late for that."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "select distinct a.who from control.notices as n inner join control.notice_affected as a using (notice)"
            " where n.step in ('extract', 'load', 'shard', 'model') and n.healed_at is null and a.ended_at is null"
        )
        return {who for (who,) in cur.fetchall()}


def close(conn: Connection, notice: int) -> bool:
    """A person says that a cause is over; whether it was open."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "update control.notice_affected as a set ended_at = clock_timestamp(), ended = 'closed'"
            " from control.notices as n where n.notice = a.notice and a.notice = %s and n.healed_at is null"
            " and a.ended_at is null",
            (notice,),
        )
        closed = cur.rowcount > 0
        cur.execute(_OVER)
    return closed


def knows_run(conn: Connection, run_id: str) -> bool:
    """Whether a cause was met in a run of Dagster's."""
    with conn, conn.cursor() as cur:
        cur.execute("select exists (select from control.notices where run_id = %s)", (run_id,))
        return cur.fetchall() == [(True,)]


def prune(conn: Connection) -> None:
    """Forget what has long been over, what only affected businesses that are erased, and the letters about it."""
    with conn, conn.cursor() as cur:
        cur.execute(
            "delete from control.notices as n where healed_at < now() - make_interval(days => %s)"
            " or not exists (select from control.notice_affected as a where a.notice = n.notice)",
            (KEPT_DAYS,),
        )
        cur.execute(
            "delete from control.notice_outbox as o where sent_at is not null"
            " and not exists (select from control.notices as n where n.notice = any(o.notices))"
        )


def listed(conn: Connection, healed: bool = False, notice: int | None = None) -> list[Mapping[str, Any]]:
    """Causes with how many they affect, newest first; the open ones, or all."""
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(
            "select n.*, count(distinct a.who) as affected,"
            " count(distinct a.who) filter (where a.ended_at is null) as affected_now"
            " from control.notices as n left join control.notice_affected as a using (notice)"
            " where (%(healed)s or n.healed_at is null) and (%(notice)s is null or n.notice = %(notice)s)"
            " group by n.notice order by n.notice desc",
            {"healed": healed or notice is not None, "notice": notice},
        )
        return list(cur.fetchall())


def affected(conn: Connection, notice: int) -> list[Mapping[str, Any]]:
    """Whom a cause affects: source, shard, business or job, its streams, since when, and how it ended."""
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        return affected_by(cur, notice)


def affected_by(cur: RealDictCursor, notice: int) -> list[Mapping[str, Any]]:
    """As `affected`, within somebody's transaction."""
    cur.execute(
        "with living as ("
        " select shard, count(*) as residents, (array_agg(display_name order by business))[1:3] as some_residents"
        " from control.businesses"
        " where shard in (select who from control.notice_affected where notice = %(notice)s) group by shard)"
        " select a.who, array_agg(a.part order by a.part) filter (where a.part <> '') as parts,"
        " min(a.first_seen) as first_seen, max(a.last_seen) as last_seen, sum(a.records)::bigint as records,"
        " case when bool_and(a.ended_at is not null) then max(a.ended_at) end as ended_at,"
        " case when bool_and(a.ended_at is not null) then min(a.ended) end as ended,"
        " bool_or(a.queued_at is not null) as told, min(s.business) as business,"
        " min(b.display_name) as display_name, min(b.shard) as shard,"
        " min(living.residents) as residents, min(living.some_residents) as some_residents"
        " from control.notice_affected as a left join control.sources as s using (source_id)"
        " left join control.businesses as b on b.business = s.business"
        " left join living on living.shard = a.who"
        " where a.notice = %(notice)s group by a.who order by min(a.first_seen), a.who",
        {"notice": notice},
    )
    return list(cur.fetchall())
