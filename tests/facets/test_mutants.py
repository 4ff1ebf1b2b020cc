"""The rounds find what they are there to find: with a rule of the macros broken, a model differs from its SELECT."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.facets.driver import DbtFailed, Project
from tests.facets.rounds import HAND, Different, Rounds

LATE = {"late_commit": 1}  # transactions that are open while a cycle runs
ANY = {"plain": 2, "partial": 1}

# name → texts of the macros by file, with what stands there instead; and the kinds of rounds that show it
UNSEEN = "xid >= pg_snapshot_xmin('{{ since }}') and not pg_visible_in_snapshot(xid, '{{ since }}')"
MUTANTS: dict[str, tuple[list[tuple[str, str, str]], dict[str, int]]] = {
    # A row that leaves a facet touches the old facet too.
    "models publish new keys only": (
        [("feeds.sql",
          "select distinct {{ column_list(columns) }} from {{ difference }}",
          'select distinct {{ column_list(columns) }} from {{ difference }} where "old row" is null')],
        ANY,
    ),
    "sources publish new keys only": (
        [("watch_sources.sql",
          "(select {{ list }}, old_rows::text from old_rows"
          " except all select {{ list }}, new_rows::text from new_rows)\n        union all\n",
          "")],
        ANY,
    ),
    # Transaction ids are given out in the order of beginnings, as sequences are, and not of commits.
    "a watermark by sequence instead of the snapshot": (
        [("reading.sql", UNSEEN, "xid >= pg_snapshot_xmax('{{ since }}')")],
        LATE,
    ),
    # An entry's time is when it was written, and not when others could see it.
    "a watermark by the clock instead of the snapshot": (
        [("feeds.sql", "xid xid8 not null default pg_current_xact_id()",
          "xid xid8 not null default pg_current_xact_id(), at timestamptz not null default clock_timestamp()"),
         ("reading.sql", UNSEEN,
          "at > (select marked_at from {{ meta_table('mark') }} where model = '{{ model.name }}')")],
        LATE,
    ),
    # dbt's own delete+insert deletes what the new result has keys for: a facet that became empty stays.
    "only facets that still have rows are deleted": (
        [("materialization.sql",
          "none if reading.whole else in_facets()",
          "none if reading.whole else in_facets() | replace('from facets', 'from ' ~ result_relation)")],
        ANY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_the_rounds_catch(mutant: Callable[..., Project], name: str) -> None:
    replacements, kinds = MUTANTS[name]
    rounds = Rounds(mutant(*replacements), seed=1, kinds=kinds)
    rounds.start()
    try:
        with pytest.raises((Different, DbtFailed)) as caught:
            rounds.play(2 * HAND)
        # A fact that is half old and half new can also repeat a key of what is made of it, which the build refuses.
        assert caught.type is Different or "repeated key" in str(caught.value), caught.value
    finally:
        rounds.finish()
    print(f"{name}: caught in round {rounds.number}: {str(caught.value).splitlines()[0]}")
