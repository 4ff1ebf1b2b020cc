"""changed_facets: whatever happens to the sources, each model equals its own SELECT after the next cycle.

The slice of `make test`; more of it: `python -m tests.facets.rounds --rounds 1000`.
"""

from __future__ import annotations

import pytest

from tests.facets.driver import Project
from tests.facets.rounds import HAND, Rounds


# A hand has each kind of round, in an order of the seed.
@pytest.mark.parametrize(("seed", "count"), [(1, HAND), (2, HAND // 2)])
def test_every_model_equals_its_select_after_each_cycle(facets_project: Project, seed: int, count: int) -> None:
    rounds = Rounds(facets_project, seed)
    try:
        rounds.start()
        rounds.play(count)
    finally:
        rounds.finish()
    print(rounds.summary())
    # Whole builds prove nothing about facets.
    assert rounds.tally["built by facets"] > 2 * rounds.tally["built whole"]
