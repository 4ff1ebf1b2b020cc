"""Classes of causes: who or what has to change before it is well again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from ingestion.errors import LarderError as IngestionError
from ingestion.errors import OutageError, ShapeError, ThrottledError
from sharding.errors import LarderError as ShardingError

Class = Literal[
    "vendor down", "credentials", "settings", "changed shape", "vendor data", "our bug", "capacity", "database down",
    "data", "late", "slow",
]  # fmt: skip
OWN: frozenset[str] = frozenset({"credentials", "settings", "vendor data", "database down", "data", "late", "slow"})
"""Classes whose cause each of the affected has for itself: one that joins later is told too."""

MEANING: dict[str, str] = {
    "vendor down": "the vendor does not answer, or answers with errors; it is asked again by itself",
    "credentials": "the vendor refuses them, or they are not there; their owner's turn",
    "settings": "settings of the source or of this installation; whoever runs it",
    "changed shape": "the vendor answers in another shape than is known; the integration has to follow",
    "vendor data": "records that cannot be right, or that no database takes; the vendor's turn, or the file's owner's",
    "our bug": "Larder's own fault, or that of a model",
    "capacity": "too little room, memory, connections, requests or time",
    "database down": "a shard's database does not answer; it is tried again in each cycle",
    "data": "the rows are not what a test or an account says they must be",
    "late": "newer data was promised by now",
    "slow": "requests take longer than expected",
}

SET_ASIDE: Mapping[str, tuple[Class, str]] = {
    "not_json": ("vendor data", "records that cannot be read: they are broken json"),
    "not_jsonb": ("vendor data", "records with a text or number that no database takes"),
    "not_object": ("changed shape", "records that are no json object"),
    "no_key": ("changed shape", "records without a value at their natural key"),
    "key_too_long": ("vendor data", "records whose natural key is too long"),
    "bad_modified": ("changed shape", "records whose time of change cannot be read"),
    "modified_in_future": ("vendor data", "records that were changed in the future, by what they say"),
    "unknown_currency": ("vendor data", "records in a currency that there is not"),
    "bad_row": ("vendor data", "rows that the mapping refuses"),
}
"""Why a record is set aside: the class of that, and what is said of it. `ingestion.checks.Reason` has the reasons."""

_BY_TURN: dict[str, Class] = {
    "vendor": "vendor down", "credentials": "credentials", "data": "data", "config": "settings", "you": "settings",
    "us": "our bug",
}  # fmt: skip
_CAPACITY = re.compile(
    r"no space left|disk \w*( \w+)* is full|too many (clients|connections)|no more connections|remaining connection"
    r" slots|out of memory|cannot allocate|lacks resources|did not answer in|not finished after|exit code -9"
    r"|its process is gone|statement timeout|lock timeout|landing slots|could not (extend file|resize shared memory)",
    re.I,
)
_DATABASE = re.compile(
    r"connection to server|could not connect to|server closed the connection|the database system is|shard cannot be"
    r" reached|terminating connection|connection already closed|ended the load|trouble with its disk",
    re.I,
)
_REFUSED_BY_RAW = re.compile(r"^block \S+ cannot be (loaded|published)\b")


def class_of(error: IngestionError | ShardingError) -> Class:
    """The class of an error, by its type, whose turn it is, and what servers are known to say."""
    match error:
        case OutageError():
            return "vendor down"
        case ShapeError():
            return "changed shape"
        case ThrottledError():
            return "capacity"
    return class_of_text(error.turn, error.cause)


def class_of_text(turn: str, said: str) -> Class:
    """The class where only the text is left of an error."""
    if turn not in ("vendor", "credentials"):
        if _CAPACITY.search(said):
            return "capacity"
        if _DATABASE.search(said):
            return "database down"
        if _REFUSED_BY_RAW.search(said):
            return "our bug"  # the checks let it pass, the database did not
    return _BY_TURN[turn]
