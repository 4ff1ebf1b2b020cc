"""One letter a cause and one when it is over: with retries, storms, cycles at once, and mail servers that are away."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from ingestion import index
from orchestration.notices import outbox, state
from orchestration.notices.causes import Cause, Well
from orchestration.notices.channels import Channels, Letter, NotSentError
from sharding.errors import LarderError
from tests.orchestration.notices.conftest import SOURCES, World, down, failing_test, refused
from tests.orchestration.notices.post import Office, body, free_port, opened


def test_a_vendor_that_breaks_for_500_sources_is_one_mail_and_one_when_it_is_back(world: World) -> None:
    storm = [down(n, stream=stream) for n in range(1, SOURCES + 1) for stream in ("sales", "refunds")]
    world.cycle(*storm)
    for _ in range(3):  # retries
        world.cycle(*storm)
    [mail] = world.office.mails
    assert mail["Subject"] == "Larder: Acme is down, for 500 sources"
    for part in (
        "extract: Acme, refunds, sales",
        "cafe_1/till (Café 1, shard_1)",
        "and 495 more",
        "vendor down: the vendor does not answer",
        "larder extract --source cafe_1/till",
        "https://dagster.example.org/runs/run-1",
        "larder notices show 1",
    ):
        assert part in body(mail), part
    assert len(body(mail).splitlines()) < 30
    assert world.sql("select seen, told_at is not null from control.notices") == [(4, True)]

    world.answered(*range(1, SOURCES + 1))
    world.cycle()
    assert len(world.office.mails) == 1, "refunds were not read yet"
    world.answered(*range(1, SOURCES + 1), stream="refunds")
    world.cycle()
    world.cycle()
    assert world.office.subjects()[1:] == ["Larder: healed: Acme is down, for 500 sources"]
    assert world.office.mails[1]["In-Reply-To"] == mail["Message-ID"]
    assert "met by 4 cycles" in body(world.office.mails[1])


def test_the_same_again_after_it_was_over_is_told_again(world: World) -> None:
    for _ in range(2):
        world.cycle(down(1))
        world.answered(1)
        world.cycle()
    assert len(world.office.mails) == 4


def test_what_comes_and_goes_is_three_letters_a_day(world: World) -> None:
    for _ in range(5):
        world.cycle(down(1))
        world.answered(1)
        world.cycle()
    assert len(world.office.mails) == 6
    world.cycle(down(1))
    assert len(world.office.mails) == 6
    world.a_day_passes()
    world.cycle(down(1))
    assert len(world.office.mails) == 7, "and what is held back is not lost"


def test_a_mail_server_that_is_away_loses_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    away = replace(world.channels, port=free_port())
    there, world.channels = world.channels, away
    world.cycle(down(1))
    world.cycle(down(1), failing_test(1))
    assert [row["attempts"] for row in outbox.waiting(world.conn)] == [2, 0], "the second was not even tried"
    world.answered(1)
    world.cycle(failing_test(1))
    assert world.office.mails == []
    assert world.sql("select told_at from control.notices") == [(None,), (None,)]
    world.channels = there
    assert world.tell().sent == 3
    assert [subject.removeprefix("Larder: ") for subject in world.office.subjects()] == [
        "Acme is down, for cafe_1/till",
        "data test not_null_fct_sale_1 fails on shard_1",
        "healed: Acme is down, for cafe_1/till",
    ]
    assert world.tell() == outbox.Sent() and outbox.waiting(world.conn) == []


def test_a_letter_waits_longer_after_each_try(world: World) -> None:
    world.channels = replace(world.channels, port=free_port())
    world.cycle(down(1))
    assert outbox.send(world.conn, world.channels) == outbox.Sent(), "not due yet"
    world.sql("update control.notice_outbox set next_try_at = now()")
    assert outbox.send(world.conn, world.channels).failed == 1
    waits = "select next_try_at > now() + interval '3 minutes', attempts from control.notice_outbox"
    assert world.sql(waits) == [(True, 2)]


def test_one_letter_that_no_server_takes_keeps_no_other_back(world: World) -> None:
    world.sql("insert into control.notice_recipients values (1, 'gone@example.org')")
    world.office.refuses = {"gone@example.org"}
    world.cycle(down(1), down(2))
    world.cycle(failing_test(1))
    assert len(world.office.mails) == 2
    assert [row["recipients"] for row in outbox.waiting(world.conn)] == [["gone@example.org"]]


def test_cycles_at_once_write_and_send_each_letter_once(world: World) -> None:
    state.meet(world.conn, [down(1), failing_test(1), refused(2)])
    begin = threading.Barrier(6)

    def cycle() -> None:
        with closing(index.connect(world.dsn)) as conn:
            begin.wait()
            state.meet(conn, [down(1), failing_test(1), refused(2)])
            outbox.write(conn, world.channels)
            outbox.send(conn, world.channels)

    threads = [threading.Thread(target=cycle) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.office.mails) == 3 == len({str(mail["Message-ID"]) for mail in world.office.mails})


def test_who_dies_after_the_server_took_a_letter_sends_it_again_as_the_same(world: World) -> None:
    class Dying(Channels):
        def send(self, letter: Letter) -> str | None:
            super().send(letter)
            raise KeyboardInterrupt

    state.meet(world.conn, [down(1)])
    outbox.write(world.conn, world.channels)
    with pytest.raises(KeyboardInterrupt):
        outbox.send(world.conn, Dying(**vars(world.channels)))
    assert world.tell().sent == 1
    assert len(world.office.mails) == 2 and len({str(mail["Message-ID"]) for mail in world.office.mails}) == 1


def test_a_webhook_and_mail_are_told_each_for_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{free_port()}/x")
    world.channels = replace(world.channels, webhook="env:HOOK")
    world.cycle(down(1))
    assert len(world.office.mails) == 1
    assert [row["channel"] for row in outbox.waiting(world.conn)] == ["webhook"]


def test_who_joins_a_cause_of_its_own_is_told_and_a_storm_of_them_once_a_day(world: World) -> None:
    world.cycle(refused(1))
    world.cycle(refused(1), refused(2))
    world.cycle(*(refused(n) for n in range(1, 60)))
    assert world.office.subjects() == [
        "Larder: Acme refuses credentials of cafe_1/till",
        "Larder: Acme refuses credentials of cafe_2/till",
        "Larder: Acme refuses credentials of 57 sources",
    ]
    world.cycle(*(refused(n) for n in range(1, 80)))
    world.cycle(*(refused(n) for n in range(1, 100)))
    assert len(world.office.mails) == 3
    world.a_day_passes()
    world.cycle(*(refused(n) for n in range(1, 100)))
    assert world.office.subjects()[3:] == ["Larder: Acme refuses credentials of 40 sources"]


def test_a_vendor_that_is_down_for_one_more_is_no_news(world: World) -> None:
    world.cycle(down(1))
    world.cycle(down(1), down(2))
    assert len(world.office.mails) == 1


def test_many_causes_of_a_kind_at_once_are_one_letter(world: World) -> None:
    world.cycle(*(failing_test(n) for n in range(23)))
    [mail] = world.office.mails
    assert mail["Subject"] == "Larder: 23 causes of class “data” (data test)"
    assert "and 18 more: larder notices show 6 7 8" in body(mail)
    world.cycle(well=Well(nodes=frozenset(("shard_1", f"not_null_fct_sale_{n}") for n in range(23))))
    assert world.office.subjects()[1:] == ["Larder: healed: 23 causes of class “data” (data test)"]


def test_a_test_that_passes_on_one_shard_still_fails_on_the_other(world: World) -> None:
    world.cycle(failing_test(1, "shard_1"), failing_test(1, "shard_2"))
    world.cycle(well=Well(nodes=frozenset({("shard_1", "not_null_fct_sale_1")})))
    assert len(world.office.mails) == 1
    world.cycle(well=Well(nodes=frozenset({("shard_2", "not_null_fct_sale_1")})))
    assert world.office.subjects()[1:] == ["Larder: healed: data test not_null_fct_sale_1 fails on 2 shards"]


def test_a_block_that_loads_at_last_is_the_end_of_it(world: World) -> None:
    world.sql(
        "insert into control.blocks (block_id, source_id, stream, path, manifest, observed_at, records, bytes) values"
        " ('01a1fdf5-1aba-7a4d-8d25-51c6f5cf2b70', 1::bigint << 45, 'sales', 'p', '{}', now(), 1, 1);"
        "insert into control.block_failures (block_id, turn, cause, next_command) select block_id, 'data', 'x', 'y'"
        " from control.blocks"
    )
    stuck = Cause("load", "our bug", "Acme", "cafe_1/till", "block cannot be published", "larder reproduce B", "sales")
    world.cycle(stuck)
    world.cycle()
    assert len(world.office.mails) == 1
    world.sql("delete from control.block_failures")
    world.cycle()
    assert world.office.subjects()[1:] == ["Larder: healed: load of Acme fails for cafe_1/till (our bug)"]


def test_a_source_that_fails_otherwise_now_or_is_paused_leaves_its_cause(world: World) -> None:
    world.cycle(down(1), down(2))
    world.cycle(refused(1))
    world.sql("update control.sources set state = 'paused' where business = 2")
    world.cycle()
    assert world.office.subjects()[1:] == [
        "Larder: Acme refuses credentials of cafe_1/till",
        "Larder: healed: Acme is down, for 2 sources",
    ]
    assert "fails otherwise now  cafe_1/till" in body(world.office.mails[2])
    assert "paused               cafe_2/till" in body(world.office.mails[2])


def test_what_is_over_before_anybody_could_be_told_is_not_told(world: World) -> None:
    state.meet(world.conn, [down(1)])
    world.answered(1)
    world.cycle()
    assert world.office.mails == []


def test_without_a_channel_causes_are_kept_and_told_once_there_is_one(world: World) -> None:
    there, world.channels = world.channels, Channels()
    world.cycle(down(1))
    assert world.sql("select count(*) from control.notice_outbox") == [(0,)]
    world.channels = there
    world.cycle(down(1))
    assert len(world.office.mails) == 1


def test_a_business_is_told_of_its_own_sources_and_of_nobody_elses(world: World) -> None:
    world.sql("insert into control.notice_recipients values (1, 'owner@cafe-1.example'), (3, 'owner@cafe-3.example')")
    world.cycle(refused(1), refused(2), failing_test(1))
    to = {who: text for (_, [who]), text in zip(world.office.envelopes, world.office.texts(), strict=True)}
    assert set(to) == {"ops@example.org", "owner@cafe-1.example"}
    assert "cafe_1/till" in to["owner@cafe-1.example"] and "cafe_2" not in to["owner@cafe-1.example"]


def test_a_business_that_is_erased_is_in_no_notice_and_in_no_letter(world: World) -> None:
    from sharding.erasing.control import owned

    world.sql("insert into control.notice_recipients values (1, 'owner@cafe-1.example')")
    world.cycle(refused(1))
    with world.conn, world.conn.cursor() as cur:
        conditions = owned(cur)
        for table in ("notice_recipients", "notice_outbox", "notice_affected"):
            low = 1 << 45
            values = {"business": 1, "low": low, "high": low + 9, "name": "cafe_1"}
            cur.execute(f"delete from control.{table} where {conditions[table]}", values)
    state.prune(world.conn)
    for table in ("notices", "notice_affected", "notice_outbox", "notice_recipients"):
        assert world.sql(f"select count(*) from control.{table}") == [(0,)], table


def test_a_person_may_say_that_it_is_over(world: World) -> None:
    world.cycle(failing_test(1))
    assert state.close(world.conn, 1) and not state.close(world.conn, 1)
    world.tell()
    assert "closed by a person" in body(world.office.mails[1])


def test_all_that_is_late_now_is_all_that_is_late(world: World) -> None:
    def late(number: int) -> Cause:
        return Cause("fresh", "late", "Acme", f"cafe_{number}/till", "data of sales are old", "larder status", "sales")

    state.now_only(world.conn, "fresh", [late(1), late(2)])
    world.tell()
    state.meet(world.conn, [down(1)])
    state.now_only(world.conn, "fresh", [])
    world.tell()
    assert world.office.subjects() == [
        "Larder: Acme is late for 2 sources",
        "Larder: Acme is down, for cafe_1/till",
        "Larder: healed: Acme is late for 2 sources",
    ]
    assert "fails otherwise now  cafe_1/till" in body(world.office.mails[2])


def test_letters_leave_by_a_server_that_asks_for_nothing(world: World) -> None:
    with opened(Office(answer="451 try later")) as busy:
        world.channels = busy
        world.cycle(down(1))
        [waiting] = outbox.waiting(world.conn)
        assert waiting["error"] == "451 try later"
    with pytest.raises(LarderError, match="no mail address"):
        Channels(host="h", to=("x y",)).send(Letter("mail", ("x y",), "s", "b", "<1>", waiting["written_at"]))
    with pytest.raises(NotSentError):
        busy.send(Letter("mail", ("x@y.example",), "s", "b", "<1>", waiting["written_at"]))
