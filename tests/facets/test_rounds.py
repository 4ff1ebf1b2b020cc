"""changed_facets: whatever happens to the sources, each model equals its own SELECT after the next cycle.

The slice of `make test`; more of it: `python -m tests.facets.rounds --rounds 1000`.
"""

from __future__ import annotations

import pytest

from tests.facets.driver import Project
from tests.facets.rounds import HAND, Rounds


@pytest.mark.parametrize("seed", [1, 2])
def test_every_model_equals_its_select_after_each_cycle(facets_project: Project, seed: int) -> None:
    rounds = Rounds(facets_project, seed)
    try:
        rounds.start()
        rounds.play(HAND)  # each kind of round, in an order of the seed
    finally:
        rounds.finish()
    print(rounds.summary())
