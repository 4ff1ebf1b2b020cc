"""Ids carry their business, in Python and SQL alike, also beyond the sign bit."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.catalogue import Catalogue
from sharding.ids import MAX_BUSINESS, MAX_NUMBER, business_of, id_range, make_id
from sharding.model import Shard
from sharding.router import Router

EDGES = (0, 1, 2**18 - 1, 2**18, 2**19 - 1)
businesses = st.one_of(st.sampled_from(EDGES), st.integers(0, MAX_BUSINESS))
numbers = st.one_of(st.sampled_from((0, 1, MAX_NUMBER)), st.integers(0, MAX_NUMBER))


@given(businesses, numbers)
def test_an_id_gives_back_what_made_it_and_fits_bigint(business: int, n: int) -> None:
    id_ = make_id(business, n)
    assert -(2**63) <= id_ < 2**63
    assert (business_of(id_), id_ & MAX_NUMBER) == (business, n)
    assert (id_ < 0) == (business >= 2**18)
    low, high = id_range(business)
    assert low <= id_ <= high


def test_ranges_of_neighbours_touch_and_never_overlap() -> None:
    signed = [*range(2**18 - 2, 2**18), 2**18, 2**18 + 1, MAX_BUSINESS - 1, MAX_BUSINESS, 0, 1]
    in_order = sorted(id_range(business) for business in signed)
    for (_, high), (low, _) in pairwise(in_order):
        assert high < low
    assert id_range(MAX_BUSINESS)[1] + 1 == id_range(0)[0] == 0
    assert id_range(2**18)[0] == -(2**63)
    assert id_range(2**18 - 1)[1] == 2**63 - 1


@pytest.mark.parametrize(("business", "n"), [(-1, 0), (2**19, 0), (0, -1), (0, 2**45)])
def test_what_does_not_fit_is_refused(business: int, n: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        make_id(business, n)


def test_sql_gives_the_same_answers(shard: Shard) -> None:
    with closing(psycopg2.connect(shard.dsn)) as connection, connection.cursor() as cursor:

        @given(businesses, numbers)
        @settings(max_examples=200, deadline=None)
        def same(business: int, n: int) -> None:
            cursor.execute(
                """
                select keys.make_id(%(b)s, %(n)s), keys.business_of(keys.make_id(%(b)s, %(n)s)),
                    keys.first_id(%(b)s), keys.last_id(%(b)s)
                """,
                {"b": business, "n": n},
            )
            assert cursor.fetchone() == (make_id(business, n), business, *id_range(business))

        same()


@pytest.mark.parametrize("business", EDGES)
def test_an_edge_business_lives_through_all_of_it(business: int, shard: Shard, catalogue: Catalogue) -> None:
    placed = catalogue.add_business("edge", "Edge", "shard_1", business=business)
    source = catalogue.add_source("edge", "till", "main", {})
    assert business_of(source.id) == placed.id == business
    assert Router(catalogue).for_id(source.id) == shard
