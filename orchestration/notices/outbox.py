"""Letters are written in one transaction with what they tell, and sent until a server takes them.

Two cycles at once write and send each letter once: whoever writes holds a lock, whoever sends holds the letter's row. A
process that dies between the server's yes and its own note sends the letter again, with the same message id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import RealDictCursor

from orchestration.notices import letters
from orchestration.notices.channels import Channels, Letter, NotSentError
from orchestration.notices.classes import OWN
from orchestration.notices.letters import Told
from orchestration.notices.state import affected_by
from sharding.errors import LarderError

ALONE = 3  # causes of one step and class that go out in letters of their own; more are one letter
OFTEN = 3  # letters a day of a cause that comes and goes, and of one that further sources join at once
_LOCK = "select pg_advisory_xact_lock(hashtextextended('larder notices', 0))"

_NEW = """
select n.* from control.notices as n
where n.healed_at is null and n.queued_at is null
    and (
        select count(*) from control.notices as o
        where o.fingerprint = n.fingerprint and o.queued_at > now() - interval '1 day'
    ) < %s
order by n.notice
"""
# Sources that joined a cause which is each one's own: at once while few have, then once a day, all together.
_JOINED = """
select n.* from control.notices as n
cross join lateral (
    select
        count(distinct a.who) filter (where a.queued_at is null and a.ended_at is null) as untold,
        count(distinct a.who) filter (where a.queued_at > now() - interval '1 day') as today
    from control.notice_affected as a where a.notice = n.notice
) as c
where n.healed_at is null and n.queued_at is not null and n.class = any(%s) and c.untold > 0
    and c.today < %s
order by n.notice
"""
_OVER = """
select * from control.notices
where healed_at is not null and queued_at is not null and heal_queued_at is null order by notice
"""
_DUE = """
select letter, channel, recipients, subject, body, message_id, written_at, answers, notices, healed
from control.notice_outbox where sent_at is null and (next_try_at <= clock_timestamp() or %s) and letter > %s
order by letter limit 1 for update skip locked
"""


@dataclass(frozen=True)
class Sent:
    """What became of the letters that were due."""

    sent: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()


def write(conn: Connection, channels: Channels) -> int:
    """Write the letters that are to be written now; returns how many. None where no channel is open."""
    if not channels.names:
        return 0
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(_LOCK)
        cur.execute(_NEW, (OFTEN,))
        new = cur.fetchall()
        cur.execute(_JOINED, (sorted(OWN), OFTEN))
        joined = cur.fetchall()
        cur.execute(_OVER)
        over = cur.fetchall()
        if not (new or joined or over):
            return 0
        written = 0
        told_new = [(n, [a for a in affected_by(cur, n["notice"]) if a["ended_at"] is None]) for n in new]
        told_joined = [
            (n, [a for a in affected_by(cur, n["notice"]) if a["ended_at"] is None and not a["told"]]) for n in joined
        ]
        told_over = [(n, affected_by(cur, n["notice"])) for n in over]
        for told, healed in ((told_new, False), (told_joined, False), (told_over, True)):
            for group in _groups([one for one in told if one[1]]):
                written += _write(cur, channels, group, healed)
        ids = [n["notice"] for n in [*new, *joined]]
        cur.execute(
            "update control.notices set queued_at = coalesce(queued_at, clock_timestamp()) where notice = any(%s)",
            (ids,),
        )
        cur.execute(
            "update control.notice_affected set queued_at = clock_timestamp()"
            " where notice = any(%s) and queued_at is null and ended_at is null",
            (ids,),
        )
        cur.execute(
            "update control.notices set heal_queued_at = clock_timestamp() where notice = any(%s)",
            ([n["notice"] for n in over],),
        )
    return written


def waiting(conn: Connection) -> list[dict[str, Any]]:
    """Letters that no server took yet, oldest first."""
    return _letters(conn, "sent_at is null", ())


def letters_of(conn: Connection, notice: int) -> list[dict[str, Any]]:
    """The letters that told a cause, or that it was over."""
    return _letters(conn, "%s = any(notices)", (notice,))


def change_recipients(conn: Connection, business: int, add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Who of a business gets letters of its sources, after addresses were added and removed."""
    with conn, conn.cursor() as cur:
        for address in add:
            cur.execute(
                "insert into control.notice_recipients (business, address) values (%s, %s) on conflict do nothing",
                (business, address),
            )
        cur.execute(
            "delete from control.notice_recipients where business = %s and address = any(%s)", (business, list(remove))
        )
        cur.execute("select address from control.notice_recipients where business = %s order by 1", (business,))
        return [address for (address,) in cur.fetchall()]


def send(conn: Connection, channels: Channels, now: bool = False) -> Sent:
    """Send the letters that are due, oldest first; `now`: also those that wait for their next try.

    A server that does not answer is left alone until the next call: it keeps nobody waiting twice.
    """
    sent, failed, last = 0, 0, 0
    errors: list[str] = []
    shut: set[str] = set()
    while True:
        with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
            cur.execute(_DUE, (now, last))
            row = cur.fetchone()
            if row is None:
                return Sent(sent, failed, tuple(errors))
            last = row["letter"]
            if row["channel"] in shut or row["channel"] not in channels.names:
                continue
            try:
                refused = channels.send(_letter(row))
            except (NotSentError, LarderError) as error:
                said = str(error)
                errors.append(f"{row['channel']}: {said}")
                failed += 1
                if not isinstance(error, NotSentError) or error.is_away:
                    shut.add(row["channel"])
                cur.execute(
                    "update control.notice_outbox set attempts = attempts + 1, error = %s, next_try_at ="
                    " clock_timestamp() + least(interval '1 hour', interval '1 minute' * 2 ^ least(attempts + 1, 10))"
                    " where letter = %s",
                    (said, last),
                )
            else:
                sent += 1
                _sent(cur, row, refused)


def _sent(cur: RealDictCursor, row: Mapping[str, Any], refused: str | None) -> None:
    cur.execute(
        "update control.notice_outbox set attempts = attempts + 1, sent_at = clock_timestamp(), error = %s"
        " where letter = %s",
        (refused, row["letter"]),
    )
    column = "heal_told_at" if row["healed"] else "told_at"
    cur.execute(
        f"update control.notices set {column} = coalesce({column}, clock_timestamp()) where notice = any(%s)",
        (row["notices"],),
    )


def _groups(told: Sequence[Told]) -> list[list[Told]]:
    """Each cause in a letter of its own; where many of one step and class came at once, they are one letter."""
    alike: dict[tuple[str, str], list[Told]] = {}
    for one in told:
        alike.setdefault((one[0]["step"], one[0]["class"]), []).append(one)
    return [group for many in alike.values() for group in ([many] if len(many) > ALONE else [[one] for one in many])]


def _write(cur: RealDictCursor, channels: Channels, told: list[Told], healed: bool) -> int:
    """A letter to those who run Larder, and one to each business with recipients of its own, of its sources alone."""
    written = 0
    readers: list[tuple[int | None, tuple[str, ...]]] = [(None, channels.to), *_recipients(cur, told)]
    for business, to in readers:
        part = told if business is None else _only(told, business)
        for channel in channels.names if business is None else [name for name in channels.names if name == "mail"]:
            if channel == "mail" and not to:
                continue
            subject, body = letters.subject(part, healed), letters.body(part, healed, channels.run_link)
            _insert(cur, channels, channel, [n["notice"] for n, _ in part], healed, business, to, subject, body)
            written += 1
    return written


def _recipients(cur: RealDictCursor, told: Sequence[Told]) -> list[tuple[int | None, tuple[str, ...]]]:
    businesses = sorted({row["business"] for _, rows in told for row in rows if row["business"] is not None})
    cur.execute(
        "select business, array_agg(address order by address) as addresses from control.notice_recipients"
        " where business = any(%s) group by business order by business",
        (businesses,),
    )
    return [(row["business"], tuple(row["addresses"])) for row in cur.fetchall()]


def _only(told: Sequence[Told], business: int) -> list[Told]:
    parts = [(notice, [row for row in rows if row["business"] == business]) for notice, rows in told]
    return [part for part in parts if part[1]]


def _insert(
    cur: RealDictCursor, channels: Channels, channel: str, notices: Sequence[int], healed: bool, business: int | None,
    to: Sequence[str], subject: str, body: str,
) -> None:  # fmt: skip
    answers = None
    if healed:
        cur.execute(
            "select message_id as id from control.notice_outbox"
            " where not healed and channel = %s and notices && %s::bigint[] and business is not distinct from %s"
            " order by letter limit 1",
            (channel, list(notices), business),
        )
        row = cur.fetchone()
        answers = row["id"] if row else None
    cur.execute(
        "insert into control.notice_outbox"
        " (notices, healed, channel, business, recipients, subject, body, message_id, answers)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (list(notices), healed, channel, business, list(to), subject, body, channels.new_message_id(), answers),
    )


def _letters(conn: Connection, where: str, values: tuple[object, ...]) -> list[dict[str, Any]]:
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cur:
        cur.execute(
            "select letter, channel, recipients, subject, written_at, attempts, next_try_at, error, sent_at, body"
            f" from control.notice_outbox where {where} order by letter",
            values,
        )
        return [dict(row) for row in cur.fetchall()]


def _letter(row: Mapping[str, Any]) -> Letter:
    return Letter(
        row["channel"], tuple(row["recipients"]), row["subject"], row["body"], row["message_id"], row["written_at"],
        row["answers"],
    )  # fmt: skip
