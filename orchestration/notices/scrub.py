"""Error texts without credentials and without anything of guests or employees, so that they can go into a mail.

What a vendor or a database quotes of the data is cut off. Of what is left a word stays only where it is known: Larder's
own language, that of Postgres and of the operating system, and names that the caller gives. All else becomes "…", as
masked records are masked: what is not known to be harmless goes.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path

from psycopg2 import errorcodes

GONE = "…"
LONGEST = 400

_NOT_OURS = ("sandbox", "integrations")
"""Folders whose words are not Larder's language: made-up people, and what vendors call things."""
_FOREIGN = re.compile(
    r"""
    (?P<kept> \(HTTP\ \d{3}\) | \bit\ begins\b | \bthrottles\ (?!the\ login)[^\s:]+
        | \bcursor\ expired\b )  # what follows is the vendor's
    .*? (?P<after> ;\ gave\ up\ after\ .* )? $
    """,
    re.X | re.S,
)
_DATABASE_SAYS = re.compile(
    r"\b(DETAIL|CONTEXT|HINT|LINE \d+|QUERY|STATEMENT|compiled code at|\[SQL|\[parameters|Failing row"
    r"|row data|value:|Background on this error)\b.*$",
    re.S,
)
_IDENTIFIED = re.compile(
    r"\b(relation|column|table|schema|constraint|function|type|index|role|user|database|view|model|server at|sequence"
    r"|extension|parameter|operator|trigger|host)\s+[\"'`](?P<name>[\w.:/-]{1,80})[\"'`]"
)
_QUOTED = re.compile(r"\"[^\"]*(\"|$)|'(?:[^']|(?<=\w)'(?=\w))*('|$)|`[^`]*(`|$)|“[^”]*(”|$)|«[^»]*(»|$)|‘[^’]*(’|$)")
_BRACKETS = re.compile(
    r"\{[^{}]*(\}|$)|\[(?!Errno)[^\[\]]*(\]|$)|\([^()]*\)=\([^()]*(\)|$)|\([^()]*=[^()]*\)|<[^<>]*(>|$)"
)
_URL = re.compile(r"\b([a-z][a-z0-9+.-]{1,20})://(?:[^\s/@]*@)?([^\s/?#\"'<>]*)(/[^\s?#\"'<>]*)?([?#][^\s\"'<>]*)?")
_EMAIL = re.compile(r"[^\s@\"<>(),;:]+@[^\s@\"<>(),;:]+")
_SECRET = re.compile(
    r"(?i)\b(bearer|basic)\s+\S+|\b(token|password|passwd|pwd|secret|api[_-]?key|authorization)\s*[:=]\s*\S+"
)
_SAFE = re.compile(
    r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"  # block
    r"|\b20\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|\+00:00|\b)"  # a moment of this century
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"  # address of a machine
)
_DIGITS = re.compile(r"\+?\d(?:[\s()./-]{0,2}\d){6,}")
_TOKEN = re.compile(r"[^\W_]+(?:[._'’-]*[^\W_]+)*", re.U)
_HUMPS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\da-zA-Z_]+", re.U)
_TECHNICAL = re.compile(r"(?:[A-Z][a-z]+|[A-Z]{2,}){1,6}(?:Error|Exception|Failed|Violation|Timeout|Interrupt|Exit)")

_MORE = """
    duplicate key value violates unique constraint not null invalid input syntax for integer numeric date time timestamp
    out of range does not exist permission denied could not extend file no space left on device canceling statement due
    to timeout user request terminating connection by administrator command deadlock detected current transaction is
    aborted server closed the unexpectedly remaining slots are reserved too many clients already memory cannot allocate
    system starting up shutting down recovery mode read only fatal panic error refused reset peer broken pipe name or
    service known temporary failure in resolution certificate verify failed self-signed expired handshake got result
    results configured to fail if job package terminally retry could expected but found missing required truncated
    relation column division zero overflow underflow conflict serialization unterminated nonexistent json jsonb utf8
    byte sequence encoding character null foreign check exclusion violated syntax near end operator ambiguous http https
    url ssl tls tcp dns errno max retries exceeded with pool object traceback exception killed signal segfault schema
    table pkey fkey idx seq convert cast accepting running connections establish new caused by address use in ended exit
    code died worker disk quota exceeded large too statement lock idle session transaction parallel shared segment
    resize string float decimal malformed postgres postgresql psycopg2 dbt dlt dagster python larder utc
"""
_CAPITAL = """
    HTTP HTTPS JSON URL SQL UTC SSL TLS TCP DNS FATAL PANIC ERROR OK CPU MB GB KB ID IDS API Errno Postgres
    PostgreSQL Dagster Larder Python Connection Database Error Runtime Compilation Got Failure Name Temporary No
    Permission Operation Broken Input Cannot Address Network Too Remaining SIGKILL SIGTERM Max Service The Is IP
    Caused
"""


def scrub(text: str, names: Collection[str] = (), secrets: Collection[str] = ()) -> str:
    """An error's text as it may be mailed, on one line.

    `names`: what may stand as it is (sources, shards, models, titles of vendors); `secrets`: what never may.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, GONE)
    text = " ".join(text.replace("\0", " ").split())
    text = _DATABASE_SAYS.sub(GONE, text)
    text = _FOREIGN.sub(lambda found: f"{found['kept']}{found['after'] or ''}", text, count=1)
    held: list[str] = []

    def hold(kept: str) -> str:
        held.append(kept)
        return f"\0{len(held) - 1}\0"

    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda found: hold(found[0]), text)
    text = _SECRET.sub(lambda found: f"{found[1] or found[2]} {GONE}", text)
    text = _URL.sub(lambda found: hold(_address(found)), text)
    text = _EMAIL.sub(GONE, text)
    text = _IDENTIFIED.sub(lambda found: f"{found[1]} {hold(_identifier(found['name']))}", text)
    while (less := _BRACKETS.sub(GONE, _QUOTED.sub(GONE, text))) != text:  # from the inner brackets to the outer
        text = less
    text = _SAFE.sub(lambda found: hold(found[0]), text)
    text = _DIGITS.sub(GONE, text)
    first = _TOKEN.search(text)
    start = first.start() if first else 0
    text = _TOKEN.sub(lambda found: found[0] if _known(found[0], found.start() == start) else GONE, text)
    while "\0" in text:  # what is held may hold something itself: a URL with a source's name
        text = re.sub(r"\0(\d+)\0", lambda found: held[int(found[1])], text)
    text = re.sub(rf"{GONE}(?:[\s,;:.=()/'\"-]*{GONE})+", GONE, text).strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + GONE


def normal(text: str, names: Collection[str] = ()) -> str:
    """A scrubbed text without what differs from one time to the next: ids, numbers, moments, and whom it is about."""
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "@", text)
    text = _SAFE.sub("#", text)
    return re.sub(r"[#\d][#\d.,:]*", "#", text.replace(GONE, " ")).lower().strip()


def _address(found: re.Match[str]) -> str:
    """A URL without user, query, and whatever in its path is not a plain word."""
    path = "/".join(part if _known(part, False) else GONE for part in (found[3] or "").split("/") if part)
    return f"{found[1]}://{found[2]}" + (f"/{path}" if path else "")


def _identifier(name: str) -> str:
    """A name in a database: shown where it is lower case and of known words, or an address of a machine."""
    if _SAFE.fullmatch(name) or re.fullmatch(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)*", name):
        return name if _SAFE.fullmatch(name) or "." in name or _known(name, False) else GONE
    return name if all(_known(part, False) for part in name.split(".")) else GONE


def _known(token: str, first: bool) -> bool:
    """Whether each part of a token is a number of few digits or a word of ours."""
    if token in _CAPITAL.split() or _TECHNICAL.fullmatch(token):
        return True
    humps = _HUMPS.findall(token)
    if any(hump.isdigit() for hump in humps) and any(not hump.isdigit() for hump in humps) and "_" not in token:
        return token.lower() in _words()
    for hump in humps:
        if hump.isdigit():
            if len(hump) > 6:
                return False
        elif hump.lower() not in _words() or (hump[0].isupper() and not first):
            return False
    return bool(humps)


@cache
def _words() -> frozenset[str]:
    """Lower-case words of Larder's own sources, of Postgres' conditions and of the operating system's errors."""
    root = Path(__file__).parents[2]
    words: set[str] = set(_MORE.lower().split())
    for package in ("cli", "ingestion", "orchestration", "reconcile", "sharding"):
        for path in (root / package).rglob("*.py"):
            if not set(path.relative_to(root).parts) & set(_NOT_OURS):
                words.update(re.findall(r"(?<![A-Za-z])[a-z]{1,30}(?![A-Za-z])", path.read_text(encoding="utf-8")))
    for name in errorcodes.__dict__:
        words.update(name.lower().split("_"))
    for code in errno.errorcode:
        words.update(re.findall(r"[a-z]+", os.strerror(code).lower()))
    return frozenset(words)
