"""Servers that crash, lines that are cut, drivers that stop, full disks: one owner, no row lost, nothing left."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg2
import pytest

from sharding import instances
from sharding.catalogue import Catalogue
from sharding.errors import LarderError
from sharding.model import Instance, Shard
from sharding.moving import journal
from sharding.moving.copying import connect
from sharding.moving.mover import POINTS, RETURN_POINTS
from sharding.provision import provision_shard
from sharding.settings import Settings
from tests.conftest import Server, scratch
from tests.faults.disk import small_tablespace
from tests.sharding.moving.conftest import BUSINESS, NEIGHBOUR, Town, settle
from tests.sharding.moving.faults import Line, Trader, crash, watched
from tests.sharding.moving.test_kill import ends
from tests.waiting import until

FRAIL = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
"""What was committed is with the operating system, which survives these crashes."""


def once(point: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Does something when a point is reached for the first time."""
    left = [point]

    def reached(where: str) -> None:
        if left and where == left[0]:
            left.clear()
            act()

    return reached


# -- crashes of servers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frail() -> Iterator[tuple[Server, Server]]:
    """Two servers that may crash; the control database is on neither."""
    home = Path(tempfile.mkdtemp(prefix="larder-test-", dir=scratch()))
    home.chmod(0o755)
    settings = Settings(home=home, control_dsn=None)
    try:
        made = []
        for name in ("frail_old", "frail_new"):
            made.append(Server(instances.start(name, settings, FRAIL), settings, count(1)))
            provision_shard(made[-1].shard("shard"))
        yield made[0], made[1]
    finally:
        for name in instances.known(settings):
            instances.remove(name, settings)
        shutil.rmtree(home)


@pytest.fixture
def frail_town(frail: tuple[Server, Server], settings: Settings) -> Iterator[Town]:
    """A town on servers that may crash."""
    assert settings.control_dsn is not None
    catalogue = Catalogue(settings.control_dsn.get_secret_value(), settings.home)
    at, databases = frail[0].instance, [server.copy_of("shard") for server in frail]
    secret = instances.secret_path(at.name, frail[0].settings)
    catalogue.add_instance(Instance(at.name, "external", at.host, at.port, at.username, f"file:{secret}"))
    catalogue.add_shard("old", at.name, databases[0])
    yield settle(catalogue, catalogue.shard("old"), frail[1], databases[1])
    for server, database in zip(frail, databases, strict=True):
        server.drop(database)


CRASHES = [(side, point) for side in ("old", "new") for point in POINTS]
OFTEN = {("new", "a chunk copied"), ("old", "both open"), ("new", "closed here")}


@pytest.mark.parametrize(
    ("side", "point"),
    [pytest.param(*case, marks=() if case in OFTEN else pytest.mark.faults) for case in CRASHES],
)
def test_a_server_that_crashes(
    frail: tuple[Server, Server], frail_town: Town, side: str, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server, up = frail[side == "new"], []
    how = signal.SIGKILL if point == "a chunk copied" else signal.SIGQUIT

    def fall_and_rise() -> None:
        crash(server.instance.name, server.settings, how)

        def rise() -> None:
            instances.start(server.instance.name, server.settings, FRAIL)
            up.append(time.monotonic())

        threading.Thread(target=rise).start()

    with watched(frail_town), Trader(frail_town).trading() as trader:
        moved = frail_town.mover(reached=once(point, fall_and_rise)).move("new")
        done = time.monotonic()
        frail_town.sell("last")
    assert moved.state == "flipped" and frail_town.owners() == ["new"]
    assert trader.keys | {"last"} <= frail_town.sales(frail_town.new)
    first = next((at for at, _ in trader.acknowledged if at > up[0]), done)
    with capsys.disabled():
        print(f" [writes again {max(first - up[0], 0):.2f} s and done {done - up[0]:.2f} s after the server was up]")
    ends(frail_town, "finish")


@pytest.mark.faults
@pytest.mark.parametrize("point", RETURN_POINTS)
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_server_that_crashes_on_the_way_back(
    frail: tuple[Server, Server], frail_town: Town, side: str, point: str
) -> None:
    server = frail[side == "new"]
    frail_town.mover().move("new")

    def fall_and_rise() -> None:
        crash(server.instance.name, server.settings)
        threading.Thread(target=instances.start, args=(server.instance.name, server.settings, FRAIL)).start()

    with watched(frail_town), Trader(frail_town).trading() as trader:
        assert frail_town.mover(reached=once(point, fall_and_rise)).roll_back().state == "rolled_back"
    assert frail_town.owners() == ["old"] and trader.keys <= frail_town.sales(frail_town.old)


# -- lines that are cut --------------------------------------------------------------------------------------------


@pytest.fixture
def lines(town: Town) -> Iterator[dict[str, Line]]:
    """The lines to both shards."""
    made = {}
    for shard in (town.old, town.new):
        line = made[shard.name] = Line(shard.host, shard.port)
        with town.catalogue.connect() as conn, conn.cursor() as cursor:
            cursor.execute("update control.instances set port = %s where instance = %s", (line.port, shard.instance))
    yield made
    for line in made.values():
        line.close()


CUTS = [(side, point) for side in ("old", "new") for point in POINTS]
CUT_OFTEN = {("old", "both open"), ("new", "closed here")}


@pytest.mark.parametrize(
    ("side", "point"),
    [pytest.param(*case, marks=() if case in CUT_OFTEN else pytest.mark.faults) for case in CUTS],
)
def test_a_line_that_is_cut(town: Town, lines: dict[str, Line], side: str, point: str) -> None:
    with watched(town), Trader(town).trading() as trader:
        moved = town.mover(reached=once(point, lines[side].cut)).move("new")
        town.sell("last")
    assert moved.state == "flipped" and town.owners() == ["new"]
    assert trader.keys | {"last"} <= town.sales(town.new)
    ends(town, "finish")


@pytest.mark.faults
@pytest.mark.parametrize("side", ["old", "new"])
def test_a_line_that_is_cut_again_and_again(town: Town, lines: dict[str, Line], side: str) -> None:
    before = town.rows(town.old)
    stop = threading.Event()

    def cutting() -> None:
        while not stop.wait(0.4):
            lines[side].cut()

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        with watched(town), pytest.raises((LarderError, psycopg2.Error)):
            for _ in range(5):
                town.mover().move("new")
    finally:
        stop.set()
        thread.join()
    assert len(town.owners()) <= 1
    if town.mover().rest() is not None or town.owners() == ["old"]:
        town.mover().move()
    assert town.rows(town.new) == before and town.owners() == ["new"]
    ends(town, "finish")


# -- the control database ------------------------------------------------------------------------------------------


@pytest.fixture
def control(server: Server, control_dsn: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Takes the control database away, and brings it back."""
    name = psycopg2.extensions.parse_dsn(control_dsn)["dbname"]

    def lose() -> None:
        server.execute(f"alter database {name} allow_connections false")
        server.execute(
            f"with those as materialized (select pid from pg_stat_activity where datname = '{name}')"
            " select pg_terminate_backend(pid) from those"
        )

    def find() -> None:
        server.execute(f"alter database {name} allow_connections true")

    return lose, find


CONTROL_OFTEN = {"both open", "open there"}


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p in CONTROL_OFTEN else pytest.mark.faults) for p in POINTS]
)
def test_a_control_database_that_is_lost(
    town: Town, control: tuple[Callable[[], None], Callable[[], None]], point: str
) -> None:
    lose, find = control
    with watched(town):
        with pytest.raises(LarderError, match=r"does not answer.*larder business move"):
            town.mover(reached=once(point, lose), patience=0.2).move("new")
        assert len(town.owners()) <= 1
        find()
        if town.owners() == ["old"]:
            town.sell("meanwhile")
        assert town.mover().move().state == "flipped"
    town.sell("after")
    assert town.owners() == ["new"] and "after" in town.sales(town.new)
    ends(town, "finish")


def test_a_control_database_that_comes_back_is_waited_for(
    town: Town, control: tuple[Callable[[], None], Callable[[], None]]
) -> None:
    lose, find = control

    def fail_for_a_while() -> None:
        lose()
        threading.Timer(0.3, find).start()

    assert town.mover(reached=once("open there", fail_for_a_while)).move("new").state == "flipped"
    assert town.catalogue.business(BUSINESS).shard == "new"


# -- drivers that stop ---------------------------------------------------------------------------------------------

STOPS = ("a chunk copied", "flipping", "both open", "closed here", "open there", "flipped")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is silent for a second is taken for stopped."""
    monkeypatch.setattr(journal, "SILENT_SECONDS", 1.0)


def stopped(act: str, where: str, nth: int = 1) -> subprocess.Popen[str]:
    """A driver of its own process, once it has stopped where it was told to."""
    command = [
        sys.executable,
        "-m",
        "tests.sharding.moving.killed_move",
        str(BUSINESS),
        act,
        "SIGSTOP",
        where,
        str(nth),
    ]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def has_stopped() -> bool:
        assert driver.poll() is None, driver.communicate()
        return Path(f"/proc/{driver.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    until(has_stopped, 120)
    return driver


def go_on(driver: subprocess.Popen[str]) -> tuple[int, str]:
    driver.send_signal(signal.SIGCONT)
    _, said = driver.communicate(timeout=120)
    return driver.returncode, said


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=() if p in ("both open", "closed here") else pytest.mark.faults) for p in STOPS]
)
def test_a_driver_that_stops_and_wakes_up_beside_another(town: Town, point: str) -> None:
    driver = stopped("new", point)
    try:
        if point in ("a chunk copied", "flipping", "both open"):
            town.sell("meanwhile")  # a driver that stopped holding the gate does not keep it
        time.sleep(journal.SILENT_SECONDS)
        with watched(town):
            assert town.mover().move().state == "flipped"
            town.sell("after")
            wanted = town.rows(town.new)
            code, said = go_on(driver)
        assert code == 0 or "another process" in said, said  # it has nothing left to do, and does nothing
    finally:
        driver.kill()
    assert town.owners() == ["new"] and town.rows(town.new) == wanted
    ends(town, "finish")


@pytest.mark.usefixtures("impatient")
@pytest.mark.faults
@pytest.mark.parametrize("nth", [5, 15, 25, 35, 45])
def test_a_driver_that_stops_while_it_deletes_the_old_copy(town: Town, nth: int) -> None:
    """It wakes up when the business has moved back to where it was deleting."""
    town.mover().move("new")
    driver = stopped("finish", "commit", nth)
    try:
        time.sleep(journal.SILENT_SECONDS)
        town.mover().finish()
        town.mover().move("old")
        wanted = town.rows(town.old)
        go_on(driver)
    finally:
        driver.kill()
    assert town.owners() == ["old"] and town.rows(town.old) == wanted


def test_a_driver_that_is_heard_of_is_not_fenced_off(town: Town) -> None:
    with journal.Journal.driving(town.catalogue, town.catalogue.business(BUSINESS)):
        time.sleep(2 * journal.BEAT_SECONDS)
        with pytest.raises(LarderError, match="another process is moving cafe"):
            town.mover().move("new")


# -- a full disk ---------------------------------------------------------------------------------------------------

FULL = """
create function public.full() returns trigger language plpgsql as $$ begin
    raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$;
create trigger full_disk before insert on {} for each row when (new.natural_key = '{}') execute function public.full();
alter table {} enable always trigger full_disk
"""


@pytest.mark.fault(7)
@pytest.mark.parametrize("where", ["a050", "late"])
def test_a_full_disk(town: Town, where: str) -> None:
    """In the copy, and with the last changes."""
    town.sql(town.new, "select raw.ensure_stream('till', 'orders')")
    town.sql(town.new, FULL.format("raw_till.orders", where, "raw_till.orders"))
    reached = once("flipping" if where == "late" else "", lambda: town.sell("late"))
    with watched(town) as owners:
        with pytest.raises(LarderError, match=r"a disk is full: .*No space left.*next: larder business move cafe"):
            town.mover(reached=reached).move("new")
        town.sell("meanwhile")
        town.sql(town.new, "drop trigger full_disk on raw_till.orders")
        before = town.rows(town.old)
        assert town.mover().move().state == "flipped"
    assert owners[0] == "old" and owners[-1] == "new" and town.rows(town.new) == before
    ends(town, "finish")


@pytest.fixture
def small_disk(other_server: Server) -> Iterator[str]:
    """A tablespace of the other server on a file system of 256 kB, where this process may mount one."""
    with small_tablespace(other_server) as name:
        yield name


@pytest.mark.fault(7)
def test_a_disk_that_is_really_full(town: Town, small_disk: str) -> None:
    for shard in (town.old, town.new):
        town.sql(shard, "select raw.ensure_stream('till', 'orders')")
    pages = "(select string_agg(md5(n::text), '') from generate_series(1, 200) as n)"
    town.sql(town.old, f"update raw_till.orders set payload = jsonb_build_object('x', {pages})")
    town.sql(town.new, f"alter table raw_till.orders set tablespace {small_disk}")
    with watched(town):
        with pytest.raises(LarderError, match=r"a disk is full: .*No space left on device"):
            town.mover().move("new")
        town.sell("meanwhile")
        town.sql(town.new, "alter table raw_till.orders set tablespace pg_default")
        before = town.rows(town.old)
        assert town.mover().move().state == "flipped"
    assert town.rows(town.new) == before
    ends(town, "finish")


# -- what others do meanwhile --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point", ["flipping", *(pytest.param(p, marks=pytest.mark.faults) for p in ("models told", "compared"))]
)
def test_a_column_that_comes_about_meanwhile_blocks(town: Town, point: str) -> None:
    change = once(point, lambda: town.sql(town.old, "alter table raw_till.orders add column note text"))
    with pytest.raises(LarderError, match=r"raw_till\.orders has other columns on new"):
        town.mover(reached=change).move("new")
    assert town.owners() == ["old"]
    town.sql(town.new, "alter table raw_till.orders add column note text")
    assert town.mover().move().state == "flipped"
    ends(town, "finish")


def test_a_write_that_skips_the_gate_is_not_left_behind(town: Town) -> None:
    """The trigger that notes it refuses it where the business has left."""

    def write() -> None:
        with pytest.raises(psycopg2.Error, match="takes no writes on this shard") as refused:
            town.sql(town.old, "insert into raw.link values (%s, 'ungated', 'write')", town.source)
        assert refused.value.pgcode == "LD001"

    assert town.mover(reached=once("closed here", write)).move("new").state == "flipped"
    assert "ungated" not in str(town.rows(town.old)) and "ungated" not in str(town.rows(town.new))


def test_a_writer_that_stays_keeps_nobody_else_waiting(town: Town) -> None:
    """A transaction that holds the gate for long: the flip gives way each time, and waits without standing in line."""
    inside, over, flipping = threading.Event(), threading.Event(), threading.Event()

    def stay() -> None:
        with closing(connect(town.old)) as conn, conn, conn.cursor() as cursor:
            cursor.execute("select keys.write_gate(%s)", (BUSINESS,))
            inside.set()
            over.wait(20)

    stayer = threading.Thread(target=stay)

    def begin(point: str) -> None:
        if point == "flipping":
            flipping.set()
        elif point == "drained" and flipping.is_set() and not inside.is_set():  # just before the flip stands in line
            stayer.start()
            inside.wait()
            threading.Timer(1.0, over.set).start()

    neighbour: list[float] = []
    stop = threading.Event()

    def trade_beside() -> None:
        for number in count():
            if stop.is_set():
                return
            began = time.monotonic()
            town.sell(f"n{number}", business=NEIGHBOUR)
            neighbour.append(time.monotonic() - began)

    beside = threading.Thread(target=trade_beside)
    beside.start()
    try:
        with Trader(town).trading() as trader:
            assert town.mover(reached=begin).move("new").state == "flipped"
    finally:
        stop.set()
        beside.join()
    stayer.join()
    told = {step: detail for _, step, detail in journal.steps(town.catalogue, journal.moves(town.catalogue)[0].id)}
    assert told["flipped"]["tries"] >= 2, "the first gave way"
    assert trader.keys <= town.sales(town.new) and not trader.refused and neighbour


def test_only_the_business_that_moves_is_held_up(town: Town) -> None:
    """While its gate is closed, the neighbour on the same shard writes."""

    def beside() -> None:
        with closing(connect(town.old)) as conn, conn, conn.cursor() as cursor:
            cursor.execute("set lock_timeout = '2s'")
            cursor.execute("select keys.write_gate(%s)", (NEIGHBOUR,))
            cursor.execute("insert into raw.link values (%s, 'beside', 'flip')", (town.neighbour_source,))

    town.sell("late")
    assert town.mover(reached=once("both open", beside)).move("new").state == "flipped"
    assert "beside" in str(town.rows(town.old, NEIGHBOUR))


def test_a_move_within_one_database(server: Server, make_shard: Callable[..., Shard],
                                    register: Callable[[Shard], Catalogue]) -> None:  # fmt: skip
    """To a schema of its own: both shards have the same gate."""
    old = make_shard("old")
    catalogue = register(old)
    catalogue.add_shard("new", old.instance, old.database, "own")
    provision_shard(catalogue.shard("new"))
    catalogue.add_business("cafe", "Cafe", "old", business=BUSINESS)
    catalogue.add_business("bar", "Bar", "old", business=NEIGHBOUR)
    source = catalogue.add_source("cafe", "till", "till", {}).id
    town = Town(catalogue.shard("old"), catalogue.shard("new"), catalogue, source, 0)
    town.sql(old, "select raw.ensure_stream('till', 'orders')")
    town.sell(*(f"a{n:03d}" for n in range(30)))
    before = town.rows(town.old)
    assert town.mover().move("new").state == "flipped"
    assert town.rows(town.new) == before
    assert town.mover().roll_back().state == "rolled_back"
    assert town.rows(town.old) == before and town.rows(town.new) == {}
