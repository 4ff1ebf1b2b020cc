"""A budget is never exceeded in any span, and a vendor's wish to be left alone binds everyone."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.budget import Budget, shared_budget


@given(st.integers(1, 5), st.lists(st.floats(0, 2), max_size=60))
def test_no_span_holds_more_than_the_budget(requests: int, pauses: list[float]) -> None:
    now = 0.0
    budget = Budget(requests, 1.0, clock=lambda: now)
    sent: list[float] = []
    for pause in pauses:
        now += pause
        sent.append(now + budget.reserve())
    assert sent == sorted(sent)
    for first, beyond in zip(sent, sent[requests:], strict=False):
        assert beyond - first >= 1.0 - 1e-9


def test_a_pause_holds_back_what_comes_after() -> None:
    budget = Budget(10, 1.0, clock=lambda: 100.0)
    budget.pause(5)
    budget.pause(2)
    assert budget.reserve() == 5


def test_a_credential_has_one_budget() -> None:
    assert shared_budget("acme", "a", 10, 1.0) is shared_budget("acme", "a", 10, 1.0)
    assert shared_budget("acme", "a", 10, 1.0) is not shared_budget("acme", "b", 10, 1.0)
