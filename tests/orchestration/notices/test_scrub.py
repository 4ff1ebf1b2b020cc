"""No credential and nothing of guests or employees is left in an error's text; what failed is."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.notices.scrub import LONGEST, normal, scrub

NAMES = ("cafe/till", "cafe", "Acme", "fct_sale", "shard_1")
BLOCK = "01a1fdf5-1aba-7a4d-8d25-51c6f5cf2b70"
PEOPLE = (
    "Maria", "Garcia", "maria.garcia@example.com", "555 123 4567", "(212) 555-0199", "0664/1234567", "Łukasz",
    "4111 1111 1111 1111", "O'Brien", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "hunter2", "1985-03-12", "Hauptstraße",
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            'Acme refuses the credentials of cafe/till (HTTP 401): {"error": "no such user Maria Garcia"}',
            "Acme refuses the credentials of cafe/till (HTTP 401)",
        ),
        (
            "http://127.0.0.1:8080/v2/customers/12345678/Maria?email=maria.garcia@example.com failed (HTTP 500): Maria"
            " Garcia is away; gave up after 3 tries and 12 s of waiting",
            "http://127.0.0.1:8080/… failed (HTTP 500); gave up after 3 tries and 12 s of waiting",
        ),
        ("Acme throttles cafe/till: slow down, Maria", "Acme throttles cafe/till"),
        (
            "http://x/orders answered with something that cannot be read: no list at data; it begins '<p>Dear Maria'",
            "http://x/orders answered with something that cannot be read: no list at data; it begins",
        ),
        (
            f'block {BLOCK} cannot be published: null value in column "total" of relation "publish_row" violates'
            " not-null constraint DETAIL: Failing row contains (Maria Garcia, +1 555 123 4567, 1985-03-12).",
            f"block {BLOCK} cannot be published: null value in column total of relation publish_row violates not-null"
            " constraint …",
        ),
        (
            "fct_sale: Database Error in model fct_sale (dbt_project/models/marts/fct_sale.sql) invalid input syntax"
            ' for type numeric: "Maria Garcia" LINE 3: \'Maria\'::numeric compiled code at target/run/x.sql',
            "fct_sale: Database Error in model fct_sale (dbt_project/models/marts/fct_sale.sql) invalid input syntax"
            " for type numeric: …",
        ),
        (
            'duplicate key value violates unique constraint "sale_pkey" DETAIL: Key (email)=(maria.garcia@example.com)'
            " already exists.",
            "duplicate key value violates unique constraint sale_pkey …",
        ),
        (
            'connection to server at "db.example.org" (10.1.2.3), port 5432 failed: FATAL: password authentication'
            ' failed for user "larder" password=hunter2',
            "connection to server at db.example.org (10.1.2.3), port 5432 failed: FATAL: password authentication failed"
            " for user larder password …",
        ),
        ("KeyError: 'Maria'", "KeyError: …"),
        ("no source of order@sale.name is open", "no source of … is open"),
        ("value (note)=(order late) is there, in [table, late]", "value … is there, in …"),
        (
            'could not extend file "base/1/2": No space left on device',
            "could not extend file …: No space left on device",
        ),
        ("Got 3 results, configured to fail if != 0", "Got 3 results, configured to fail if != 0"),
        ("not finished after 480 s; ended", "not finished after 480 s; ended"),
    ],
)  # fmt: skip
def test_what_failed_is_told_and_of_whom_is_not(said: str, left: str) -> None:
    assert scrub(said, NAMES) == left


@pytest.mark.parametrize("frame", ["{}", "the record of {} is wrong", "order of guest {}, paid", "x={}, y", "job: {}"])
@pytest.mark.parametrize("who", PEOPLE)
def test_nothing_of_people_gets_through_in_any_place(who: str, frame: str) -> None:
    for quoted in (who, f"'{who}'", f'"{who}"', f"({who})", f"[{who}]", f"{{'name': '{who}'}}", f"<{who}>"):
        left = scrub(frame.format(quoted), NAMES)
        for part in re.findall(r"\w{3,}", who):
            assert part not in left, (quoted, left)


def test_the_secrets_that_are_known_go_wherever_they_stand() -> None:
    said = "the vendor of sale says sale-of-the-day is wrong"
    assert "sale-of-the-day" in said and "of-the" not in scrub(said, NAMES, ["sale-of-the-day"])


@given(st.text(st.characters(codec="utf-8"), max_size=200))
@example("<<")
def test_any_text_ends_as_one_short_line_and_is_not_changed_again(said: str) -> None:
    left = scrub(said, NAMES)
    assert "\n" not in left and len(left) <= LONGEST
    assert scrub(left, NAMES) == left


@given(st.text("bcdfghjkqvwxz", min_size=5, max_size=40))
def test_no_word_gets_through_that_is_nobodys_language(word: str) -> None:
    assert scrub(f"value {word} is wrong", NAMES) == "value … is wrong"


def test_a_name_within_a_url_stays_and_the_rest_of_it_does_not() -> None:
    said = "http://h/cafe/till/Maria?token=x of cafe failed"
    assert scrub(said, NAMES) == "http://h/cafe/till/… of cafe failed"
    assert scrub("a\0b\0001\0c is wrong", NAMES) == "a b 1 c is wrong"


def test_the_same_fault_is_the_same_text_whenever_and_for_whomever_it_is() -> None:
    one = scrub(f"block {BLOCK} of cafe/till cannot be published: 17 rows at 2024-04-02 09:00:00", NAMES)
    other = scrub(
        "block 01a1fe31-3f1a-72fe-9d7d-dc1bfd31b82b of diner/bar cannot be published: 4 rows at 2025-01-01T00:00:00Z",
        ["diner/bar"],
    )
    assert one != other and normal(one, NAMES) == normal(other, ["diner/bar"])
