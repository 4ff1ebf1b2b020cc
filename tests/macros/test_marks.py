"""changed_facets, what it remembers: when a mark no longer holds, how long feeds are kept, which tests have passed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.macros.lines import DAY, LINE, NOTHING, ONE, is_right


def change(project: Any) -> None:
    """One line more or less dear, so that there is something to miss."""
    project.sql("update public.line set net = net + 1 where id = 1")


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        ("delete from meta.mark where model = 'sum_day'", "no mark"),
        ("update meta.feed set epoch = gen_random_uuid() where feed = 'fct_line'", "built anew: fct_line"),
        (
            "update meta.feed set pruned_to = pg_current_xact_id() where feed = 'fct_line'",
            "its feeds do not reach back to its mark",
        ),
        ("drop table meta.feed__fct_line", "built anew: fct_line"),
        ("drop table marts.sum_day", "first build"),
    ],
)
def test_without_a_valid_mark_a_model_is_computed_whole(till: Any, loss: str, reason: str) -> None:
    change(till)
    till.sql(loss)
    said = till.build()
    assert said["fct_line"].endswith("1 facet; new in till.line")
    whole = "8 inserted, 0 deleted, 0 unchanged" if "first" in reason else "1 inserted, 1 deleted, 7 unchanged"
    assert said["sum_day"] == f"{whole}; {reason}"
    assert is_right(till)
    assert till.build()["sum_day"] == NOTHING
    change(till)
    assert till.build()["sum_day"] == ONE and is_right(till)


def test_on_another_cluster_everything_is_computed_whole_and_then_followed_again(till: Any) -> None:
    """Where numbers of transactions are lower than those that were restored, too."""
    change(till)
    till.build("--select", "fct_line")
    far = "'9000000000000000000'::xid8"
    till.sql(f"update meta.feed__fct_line set xid = {far}; update meta.feed set pruned_to = {far}")
    till.sql("update meta.mark set cluster = 1, tested = '9000000000000000000:9000000000000000000:'")
    said = till.build()
    assert {name: text.split("; ")[-1] for name, text in said.items()} == dict.fromkeys(
        ("fct_line", "sum_day"), "restored on another cluster"
    )
    assert is_right(till) and till.sql("select count(tested) from meta.mark") == [(0,)]
    assert till.build() == {"fct_line": NOTHING, "sum_day": NOTHING}
    change(till)
    assert till.build()["sum_day"] == ONE and is_right(till) and waiting(till) == 0


def test_a_full_refresh_asks_every_model_and_changes_what_differs(till: Any) -> None:
    change(till)
    said = till.build("--full-refresh")
    assert said["fct_line"] == "1 inserted, 1 deleted, 23 unchanged; full refresh"
    assert said["sum_day"] == "1 inserted, 1 deleted, 7 unchanged; full refresh"
    assert till.build()["sum_day"] == NOTHING


def test_a_source_made_anew_is_read_whole(till: Any) -> None:
    """As loaders do that replace tables: the triggers went with the old one."""
    till.sql("""
        create table public.line_next as select id, site, day, net + 1 as net from public.line where day > '2025-03-01';
        drop table public.line;
        alter table public.line_next rename to line;
    """)
    till.watch()
    assert till.build()["fct_line"] == "18 inserted, 24 deleted, 0 unchanged; built anew: till.line"
    assert is_right(till)


def test_development_computes_whole_and_marks_nothing(till: Any) -> None:
    change(till)
    meta = "select model, seen::text, marked_at from meta.mark order by 1"
    before = till.sql(meta), till.sql("select * from meta.model_change")
    said = till.build(target="dev")
    assert said["sum_day"] == "8 inserted, 0 deleted, 0 unchanged; development"
    assert till.build(target="dev")["sum_day"] == "0 inserted, 0 deleted, 8 unchanged; development"
    assert (till.sql(meta), till.sql("select * from meta.model_change")) == before
    assert till.sql("select count(*) from dev_ada.mark") == [(0,)]
    assert till.sql("select to_regclass('dev_ada.feed__fct_line')") == [(None,)]
    assert till.build()["sum_day"] == ONE


def test_two_builds_at_once_do_not_lose_or_double_a_change(till: Any) -> None:
    slow = LINE.replace("day, net from", "day, net + 0 * length(pg_sleep(0.02)::text) as net from")
    till.model("fct_line", slow)
    till.build()
    till.sql("update public.line set net = net + 1 where day = '2025-03-01'")
    command = [sys.executable, "-m", "dbt.cli.main", "run", "--quiet", "--no-version-check", "--target", "production"]
    places = ["--project-dir", str(till.folder), "--profiles-dir", str(till.folder)]
    runs = [
        subprocess.Popen([*command, *places, "--target-path", str(till.folder / f"target_{number}")])
        for number in (1, 2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert is_right(till)
    found = till.sql("select inserted, deleted from meta.model_change where reason = 'new in till.line'")
    assert found == [(6, 6)], "the second found that nothing was left to do"


# -- feeds are kept for the slowest, and not for ever


def waiting(project: Any) -> int:
    """Entries in the feed of the lines."""
    [(count,)] = project.sql("select count(*) from meta.feed__fct_line")
    return int(count)


def test_entries_stay_until_the_slowest_has_seen_them(till: Any) -> None:
    assert waiting(till) == 0
    for _ in range(2):
        change(till)
        till.build("--select", "fct_line")
    assert waiting(till) == 2
    assert till.build()["sum_day"] == ONE
    assert waiting(till) == 0 and is_right(till)
    assert till.build()["sum_day"] == NOTHING


def test_a_model_too_far_behind_loses_its_mark_and_nobody_else(till: Any) -> None:
    limit = ("--vars", "{changed_facets_lag_entries: 2}")
    till.sql("update public.line set net = 11 where day < '2025-03-02'")  # two facets
    till.build("--select", "fct_line", *limit)
    assert waiting(till) == 2 and till.sql("select count(*) from meta.mark") == [(2,)]
    change(till)
    till.build("--select", "fct_line", *limit)
    assert till.sql("select model from meta.mark") == [("fct_line",)]
    assert waiting(till) == 0
    said = till.build(*limit)
    assert said == {"fct_line": NOTHING, "sum_day": "2 inserted, 2 deleted, 6 unchanged; no mark"}
    assert is_right(till)


def test_a_model_behind_for_days_loses_its_mark(till: Any) -> None:
    change(till)
    till.build("--select", "fct_line")
    assert till.sql("select model from meta.mark where stale_since is not null") == [("sum_day",)]
    till.sql("update meta.mark set stale_since = now() - interval '8 days' where model = 'sum_day'")
    till.build("--select", "fct_line")
    assert till.sql("select model from meta.mark") == [("fct_line",)]


def test_a_model_that_is_gone_holds_nothing_back(till: Any) -> None:
    change(till)
    till.build("--select", "fct_line")
    for suffix in ("sql", "yml"):
        (till.folder / f"models/sum_day.{suffix}").unlink()
    till.build()
    assert till.sql("select model from meta.mark") == [("fct_line",)]
    assert waiting(till) == 0


# -- data tests look at what changed


@pytest.fixture
def tested(till: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The till with two tests of its lines, which passed; from now on tests look at changed facets."""
    till.model("fct_line", LINE, columns=[
        {"name": "net", "data_tests": ["not_null"]},
        {"name": "site", "data_tests": [{"accepted_values": {"arguments": {"values": [1, 2], "quote": False}}}]},
    ])  # fmt: skip
    till.build()
    till.test()
    monkeypatch.setenv("CHANGED_FACETS_TESTS", "changed")
    return till


def passed_to(project: Any) -> str:
    [(seen,)] = project.sql("select tested::text from meta.mark where model = 'fct_line'")
    return str(seen)


def test_tests_look_at_changed_facets_only(tested: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tested.sql("insert into marts.fct_line values (900, 1, '2025-03-04', null)")  # behind the model's back
    tested.sql("update public.line set net = 11 where id = 1")
    tested.build()
    tested.test()
    monkeypatch.delenv("CHANGED_FACETS_TESTS")
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()
    monkeypatch.setenv("CHANGED_FACETS_TESTS", "changed")
    tested.sql("insert into public.line values (901, 2, '2025-03-04', null)")
    tested.build()
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()


def test_a_model_is_tested_when_all_its_tests_passed(tested: Any) -> None:
    first = passed_to(tested)
    tested.sql("insert into public.line values (901, 2, '2025-03-04', null)")
    tested.build()
    with pytest.raises(AssertionError):
        tested.test()
    tested.dbt("test", "--select", "fct_line,test_name:accepted_values")
    assert passed_to(tested) == first, "one of two failed, or was not asked"
    tested.build()
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()
    tested.sql("update public.line set net = 1 where id = 901")
    tested.build()
    tested.test()
    assert passed_to(tested) != first


def test_entries_stay_until_the_tests_have_seen_them(tested: Any) -> None:
    tested.sql("insert into public.line values (901, 2, '2025-03-04', null)")
    tested.build()
    tested.build()
    assert waiting(tested) == 1
    with pytest.raises(AssertionError):
        tested.test()
    assert waiting(tested) == 1
    tested.sql("delete from public.line where id = 901")
    tested.build()
    tested.test()
    tested.build()
    assert waiting(tested) == 0


def test_a_test_that_never_passes_lets_no_feed_grow(tested: Any) -> None:
    limit = ("--vars", "{changed_facets_lag_entries: 2}")
    tested.sql("insert into public.line values (901, 2, '2025-03-04', null)")
    for number in range(3):
        tested.sql(f"update public.line set net = {number} where id = 1 + {number} * 3")  # each in a facet of its own
        tested.build(*limit)
        with pytest.raises(AssertionError):
            tested.test(*limit)
    assert passed_to(tested) == "None" and waiting(tested) == 0
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()


def test_a_table_made_anew_is_tested_whole(tested: Any) -> None:
    tested.sql("drop table marts.fct_line cascade")
    tested.build()
    assert passed_to(tested) == "None"
    tested.sql("insert into marts.fct_line values (900, 1, '2025-03-04', null)")
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()


def test_a_test_in_sql_says_which_rows_it_is_about(tested: Any) -> None:
    (tested.folder / "tests").mkdir()
    (tested.folder / "tests/no_free_lines.sql").write_text(
        "select * from {{ tested_rows(ref('fct_line'), ['site', 'day'], ['fct_line']) }} as line where net <= 0"
    )
    tested.test()
    tested.sql("insert into marts.fct_line values (900, 1, '2025-03-04', 0)")
    tested.test()
    tested.sql("insert into public.line values (901, 2, '2025-03-04', 0)")
    tested.build()
    with pytest.raises(AssertionError, match="Got 1 result"):
        tested.test()
    tested.sql("insert into marts.fct_line values (902, 2, '2025-03-04', 0)")
    with pytest.raises(AssertionError, match="Got 2 results"):
        tested.test()


def test_marks_of_the_shard_are_of_its_namespace(make_project: Any) -> None:
    project = make_project("acme")
    project.sql("create table public.line (id int, site int, day date, net numeric)")
    project.source("till", "line")
    project.model("fct_line", LINE)
    project.model("sum_day", DAY)
    project.watch()
    project.build()
    assert project.sql("select model from acme_meta.mark order by 1") == [("fct_line",), ("sum_day",)]
    project.sql("insert into public.line values (1, 1, '2025-03-01', 5)")
    assert project.build()["sum_day"] == "1 inserted, 0 deleted, 0 unchanged; 1 facet; new in fct_line"
