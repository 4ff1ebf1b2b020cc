"""The rounds find what they are there to find: with a rule of the macros broken, a model differs from its SELECT."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.facets.driver import DbtFailed, Project
from tests.facets.rounds import HAND, Different, Rounds

LATE = {"late_commit": 1}  # transactions that are open while a cycle runs
ANY = {"plain": 2, "partial": 1}

# name → file of the macros, the text there, what stands there instead, the kinds of rounds that show it
MUTANTS: dict[str, tuple[str, str, str, dict[str, int]]] = {
    # A row that leaves a facet touches the old facet too.
    "models publish new keys only": (
        "feeds.sql",
        "select distinct {{ columns | join(', ') }} from {{ difference }}",
        "select distinct {{ columns | join(', ') }} from {{ difference }} where operation = 'I'",
        ANY,
    ),
    "sources publish new keys only": (
        "watch_sources.sql",
        "(select {{ list }}, old_rows::text from old_rows except all select {{ list }}, new_rows::text from new_rows)\n"
        "        union all\n",
        "",
        ANY,
    ),
    # Transaction ids are given out in the order of beginnings, as clocks and sequences are, and not of commits.
    "a watermark instead of the snapshot": (
        "reading.sql",
        "xid >= pg_snapshot_xmin('{{ since }}') and not pg_visible_in_snapshot(xid, '{{ since }}')",
        "xid >= pg_snapshot_xmax('{{ since }}')",
        LATE,
    ),
    # dbt's own delete+insert deletes what the new result has keys for: a facet that became empty stays.
    "only facets that still have rows are deleted": (
        "materialization.sql",
        "none if reading.whole else in_facets()",
        "none if reading.whole else in_facets() | replace('from facets', 'from ' ~ result_relation)",
        ANY,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_rounds_catch(mutant: Callable[..., Project], name: str) -> None:
    file, old, new, kinds = MUTANTS[name]
    rounds = Rounds(mutant(file, old, new), seed=1, kinds=kinds)
    rounds.start()
    try:
        with pytest.raises((Different, DbtFailed)) as caught:
            rounds.play(2 * HAND)
        # A fact that is half old and half new can also repeat a key of what is made of it, which the build refuses.
        assert caught.type is Different or "repeated key" in str(caught.value), caught.value
    finally:
        rounds.finish()
    print(f"{name}: caught in round {rounds.number}: {str(caught.value).splitlines()[0]}")
