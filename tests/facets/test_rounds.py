"""changed_facets: whatever happens to the sources, each model equals its own SELECT after the next cycle.

The slice of `make test`; more of it: `python -m tests.facets.rounds --rounds 1000`.
"""

from __future__ import annotations

from tests.facets.driver import Project
from tests.facets.rounds import HAND, Rounds


# A hand has each kind of round, in an order of the seed.
def test_every_model_equals_its_select_after_each_cycle(facets_project: Project) -> None:
    rounds = Rounds(facets_project, seed=1)
    try:
        rounds.start()
        rounds.play(HAND)
    finally:
        rounds.finish()
    print(rounds.summary())
    # Whole builds prove nothing about facets.
    assert rounds.tally["built by facets"] > 2 * rounds.tally["built whole"]
