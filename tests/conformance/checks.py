"""The checks of the suite, and which of them an integration has no use for. docs/conformance.md is made of this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingestion.spec import IntegrationSpec


@dataclass(frozen=True)
class Check:
    """One column of the table. `without`: why it does not apply to an integration; None where it does."""

    name: str
    about: str
    without: Callable[[IntegrationSpec], str | None] = lambda spec: None


def _no_deletes(spec: IntegrationSpec) -> str | None:
    told = any(stream.tells_absence or stream.deletes == "soft_flag" for stream in spec.streams)
    return None if told else "the vendor tells no deletions"


CHECKS = (
    Check("spec", "The file is valid, and what is generated from it is fresh."),
    Check(
        "credentials",
        "`larder source check` reads a page with good credentials, and says that bad ones are refused: each secret by "
        "itself.",
    ),
    Check(
        "incremental",
        "A full extract and an incremental one a day later leave in raw what one full extract of that day leaves.",
    ),
    Check(
        "moving",
        "A day passes while the pages are read, a bit with each answer: nothing that changed meanwhile is lost or "
        "stays old.",
    ),
    Check("again", "The same extract once more tells nothing that was not told."),
    Check(
        "killed",
        "Extracts killed (`kill -9`) at six steps of their way, one after the other, then one that ends: all of it, "
        "nothing else.",
    ),
    Check(
        "bumpy",
        "429 with its `Retry-After` obeyed, 500, a closed connection, half an answer and silence beyond the time "
        "limit: all of it, nothing else.",
    ),
    Check(
        "deletes",
        "What vanishes from a list, or gets the vendor's deleted flag, is gone or flagged in raw.",
        _no_deletes,
    ),
    Check(
        "exact",
        "Numbers are in raw digit by digit (0 and 3 decimals, negative, beyond 2^53); times survive clock changes, "
        "midnight and the year's end in the vendor's spelling.",
    ),
    Check(
        "drift",
        "A field that is new, missing or of another type is told by `larder integration drift`; its record is in raw.",
    ),
    Check(
        "secrets",
        "No credential, and no token given for one, is in a block, a manifest, the control database, a log or "
        "an error.",
    ),
)
