"""One shard first, then the others side by side; what fails or is killed is gone on with, and stops no other."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from sharding.errors import LarderError
from sharding.migrate import MIGRATIONS, Drift, migrate_shard, require_usable
from sharding.migrating import fleet
from sharding.migrating.health import require_healthy
from sharding.model import Shard
from tests.aside import die, killed
from tests.faults.record import Figure
from tests.sharding.migrating.conftest import Fleet

NEWEST = max(path.name[:4] for path in (MIGRATIONS / "shard").glob("*.sql"))
NEW = "create table {raw}.new (n int)"
TOGETHER = """
do $$
begin
    if not exists (select from {keys}.route) then  -- the one that goes first
        return;
    end if;
    perform pg_advisory_xact_lock_shared(7701);
    for attempt in 1..200 loop
        if (select count(*) from pg_locks where locktype = 'advisory' and objid = 7701) >= 3 then
            perform pg_sleep(0.5);  -- the others look too
            return;
        end if;
        perform pg_sleep(0.05);
    end loop;
    raise exception 'alone';
end $$;
"""


def test_the_plan_shows_what_each_shard_lacks_and_changes_nothing(shards: Fleet) -> None:
    shards.add("9001_new", NEW)
    shards.sql("a", "insert into keys.schema_history (revision, sha256) values ('9900', 'x')")
    shards.sql("b", "update keys.schema_history set sha256 = 'other words' where revision = '0002'")
    gone = replace(shards.catalogue.shard("d"), database="no_such")
    told = {one.shard: one for one in fleet.plan([*shards.catalogue.shards()[:3], gone], shards.folder)}
    assert told["a"].drift == Drift(("9001",), ("9900",), ()) and not told["a"].behind
    assert told["b"].drift == Drift(("9001",), (), ("0002",)) and told["b"].behind
    assert told["c"].drift == Drift(("9001",), (), ()) and told["c"].at == NEWEST
    assert "no_such" in told["d"].error and told["d"].at is None
    assert shards.recorded() == []


def test_the_shard_with_the_fewest_businesses_goes_first_and_is_looked_at(shards: Fleet) -> None:
    shards.add("9001_new", NEW)
    looked_at = []

    def check(shard: Shard) -> None:
        looked_at.append((shard.name, shards.at()))

    done = shards.migrate(check=check)
    assert looked_at == [("c", {"a": NEWEST, "b": NEWEST, "c": "9001", "d": NEWEST})]
    assert [(one.shard, one.state, one.revisions) for one in done] == [(name, "migrated", ("9001",)) for name in "abcd"]
    assert shards.recorded() == [("c", True, "done")]
    assert {one.state for one in shards.migrate()} == {"up to date"}


def test_where_the_first_is_not_healthy_no_other_is_touched(shards: Fleet) -> None:
    shards.add("9001_bad", "drop function {keys}.write_gate")
    with pytest.raises(fleet.CanaryError, match=r"a went first.*not healthy.*write_gate.*3 others were left"):
        shards.migrate(canary="a")
    assert shards.at() == {"a": "9001", "b": NEWEST, "c": NEWEST, "d": NEWEST}
    assert shards.recorded() == [("a", False, "open")]
    with pytest.raises(fleet.CanaryError):  # and so it stays until it is mended
        shards.migrate()
    with closing(psycopg2.connect(shards.catalogue.shard("b").dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("select pg_get_functiondef('keys.write_gate'::regproc)")
        [(definition,)] = cursor.fetchall()
    shards.add("9002_mended", definition)
    assert {one.state for one in shards.migrate()} == {"migrated"}
    assert shards.recorded() == [("a", False, "superseded"), ("c", True, "done")]


def test_an_index_that_was_cut_off_is_not_healthy(shards: Fleet) -> None:
    shard = shards.catalogue.shard("a")
    require_healthy(shard)
    shards.sql("a", "create table keys.twice as select 1 as n from generate_series(1, 2)")
    with closing(psycopg2.connect(shard.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.UniqueViolation):
            cursor.execute("create unique index concurrently cut_off on keys.twice (n)")
    with pytest.raises(LarderError, match=r"index keys\.cut_off is not valid"):
        require_healthy(shard)


@pytest.mark.fault(29)
def test_a_shard_that_fails_stops_no_other_and_is_gone_on_with(shards: Fleet) -> None:
    shards.add("9001_fine", "create table {raw}.fine (n int)")
    shards.add("9002_new", NEW)
    shards.sql("b", "create table raw.new (in_the_way int)")
    done = {one.shard: one for one in shards.migrate()}
    assert {name: one.state for name, one in done.items()} == {
        "a": "migrated", "b": "failed", "c": "migrated", "d": "migrated",
    }  # fmt: skip
    assert done["b"].revisions == ("9001",) and 'relation "new" already exists' in done["b"].error
    error = fleet.refused(list(done.values()))
    assert error is not None and "1 of 4 shards are not at the newest version (b)" in error.cause
    assert shards.recorded() == [("c", True, "open")]

    shards.sql("b", "drop table raw.new")
    first = []
    done = {one.shard: one for one in shards.migrate(check=lambda shard: first.append(shard))}
    assert done["b"].revisions == ("9002",) and done["a"].state == "up to date"
    assert first == [] and shards.recorded() == [("c", True, "done")]


@pytest.mark.fault(29)
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_is_killed_is_gone_on_with(shards: Fleet, count: int, figure: Figure) -> None:
    shards.add("9001_new", NEW)
    done_before: list[str] = []

    def say(line: str) -> None:
        if ": migrated" in line:
            done_before.append(line)
        if len(done_before) == count:
            die()

    assert killed(lambda: shards.migrate(workers=1, say=say))
    figure("kills", 1)
    assert list(shards.at().values()).count("9001") == count
    looked_at: list[str] = []
    done = shards.migrate(check=lambda shard: looked_at.append(shard.name))
    assert [one.state for one in done].count("migrated") == 4 - count
    assert looked_at == (["c"] if count == 1 else [])  # the first was killed before it was looked at
    assert shards.recorded() == [("c", True, "done")] and set(shards.at().values()) == {"9001"}


def test_shards_are_migrated_side_by_side(shards: Fleet) -> None:
    shards.add("9001_together", TOGETHER)
    assert [(one.state, one.error) for one in shards.migrate(workers=3)] == [("migrated", "")] * 4


def test_a_locked_shard_is_left_for_later(shards: Fleet) -> None:
    shards.add("9001_wider", "alter table {keys}.route add column wider int")
    with closing(psycopg2.connect(shards.catalogue.shard("d").dsn)) as reading, reading.cursor() as cursor:
        cursor.execute("select * from keys.route")
        done = {one.shard: one for one in shards.migrate()}
    assert {name: one.state for name, one in done.items()} == {
        "a": "migrated", "b": "migrated", "c": "migrated", "d": "locked",
    }  # fmt: skip
    assert "no lock within 0.2 s" in done["d"].error
    assert {one.state for one in shards.migrate()} == {"migrated", "up to date"}


@pytest.mark.fault(29)
def test_only_the_shard_that_is_behind_is_refused(shards: Fleet) -> None:
    shards.sql("b", f"delete from keys.schema_history where revision = '{NEWEST}'")
    require_usable(shards.catalogue.shard("a"))
    with pytest.raises(LarderError, match=f"b: the schema is at .*, this code needs {NEWEST}") as caught:
        require_usable(shards.catalogue.shard("b"))
    assert caught.value.next_command == "larder shard migrate --only b"


def test_older_code_goes_on_with_what_was_added_and_not_with_what_was_taken_away(shards: Fleet) -> None:
    shards.add("9001_new", NEW)
    shards.migrate()
    require_usable(shards.catalogue.shard("a"))
    shards.add("9002_less", "-- contract: nobody reads it since 9001\ndrop table {raw}.new")
    fleet.migrate(shards.catalogue, [shards.catalogue.shard("a")], folder=shards.folder)
    with pytest.raises(LarderError, match="migration 9002 took away what this older code may use"):
        require_usable(shards.catalogue.shard("a"))
    require_usable(shards.catalogue.shard("b"))


@pytest.mark.fault(29)
def test_rights_are_arranged_where_a_kill_came_between(shards: Fleet) -> None:
    shards.add("9001_new", "create table {keys}.new (id bigint primary key)")

    def unhealthy(shard: Shard) -> None:
        raise LarderError("not yet", "us", "larder doctor")

    with pytest.raises(fleet.CanaryError):
        shards.migrate(check=unhealthy)
    migrate_shard(shards.catalogue.shard("a"), shards.folder)  # and here it was killed
    shards.sql("a", "alter table keys.new owner to larder_admin")
    assert {one.state for one in shards.migrate()} <= {"migrated", "up to date"}
    query = "select relowner::regrole::text from pg_class where oid = 'keys.new'::regclass"
    assert shards.sql("a", query) == shards.sql("b", query) == [("larder_owner",)]
