"""Which backups stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sharding.backup.keep import Policy, kept

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)  # a Monday


def test_the_last_of_each_day_week_and_month_stays() -> None:
    twice_a_day = [NOON - timedelta(hours=12 * n) for n in range(120)]
    stay = kept(twice_a_day, Policy(days=3, weeks=3, months=2))
    assert sorted(stay, reverse=True) == [
        datetime(2025, 3, 10, 12, tzinfo=UTC),
        datetime(2025, 3, 9, 12, tzinfo=UTC),  # also the last of its week
        datetime(2025, 3, 8, 12, tzinfo=UTC),
        datetime(2025, 3, 2, 12, tzinfo=UTC),
        datetime(2025, 2, 28, 12, tzinfo=UTC),
    ]


@given(
    st.lists(st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)), min_size=1),
    st.builds(Policy, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
)
def test_the_newest_always_stays_and_no_more_than_were_asked_for(made: list[datetime], policy: Policy) -> None:
    stay = kept(made, policy)
    assert max(made) in stay and stay <= set(made)
    assert len(stay) <= 1 + policy.days + policy.weeks + policy.months
    assert kept(sorted(stay), policy) == stay  # thinning out again takes no more away
