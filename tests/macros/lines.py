"""Two models on the lines of a till: the lines by site and day, and their sums."""

from __future__ import annotations

from typing import Any

LINE = """
{{ config(materialized='changed_facets', unique_key='id', facet=['site', 'day']) }}
select id, site, day, net from {{ source('till', 'line') }}
"""
DAY = """
{{ config(materialized='changed_facets', unique_key=['site', 'day'], facet=['site', 'day']) }}
select site, day, sum(net) as net, count(*) as lines from {{ ref('fct_line') }} group by site, day
"""
NOTHING = "0 inserted, 0 deleted, 0 unchanged; nothing new"
ONE = "1 inserted, 1 deleted, 0 unchanged; 1 facet; new in fct_line"


def rows(project: Any) -> dict[tuple[int, str], tuple[Any, ...]]:
    """Sums by site and day, each with the transaction that wrote it and its place."""
    found = project.sql("select site, day::text, net, lines, xmin::text, ctid::text from marts.sum_day")
    return {row[:2]: row[2:] for row in found}


def is_right(project: Any) -> bool:
    """Whether the sums are those of the till."""
    wanted = "select site, day, sum(net), count(*) from public.line group by 1, 2 order by 1, 2"
    return bool(project.sql("select * from marts.sum_day order by 1, 2") == project.sql(wanted))
