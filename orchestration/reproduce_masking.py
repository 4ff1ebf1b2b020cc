"""People's data out of vendors' records, so that a record can become a test.

What is not known to be harmless is masked: a text stays only where it is a time, an amount, a code, an identifier or a
state. A pseudonym has the length and the kinds of letters of what it stands for, and is the same wherever that stands.
The record's text is worked on as it is, not parsed: duplicate members, numbers beyond range, half characters and broken
ends, for the sake of which it may have failed, stay what they are.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)("|$)(\s*:)?|(-?\d[\d.eE+-]*)', re.S)
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_EMAIL = re.compile(r"[^\s@\"<>]+@[^\s@\"<>]+")
_PHONE = re.compile(r"\+\d[\d\s().-]{6,}\d|\(\d{2,4}\)\s?\d[\d\s-]{4,}")
_PERSONAL = _set(
    """name names first last given family surname forename nickname middle initials title salutation
    email mail phone mobile cell telephone tel fax address street line1 line2 city town village district locality
    postal postcode zip county note notes comment comments remark remarks memo message text description review
    card pan last4 last iban account holder cardholder birth birthday birthdate dob ssn passport license tax
    customer guest recipient buyer contact person display reason signature ip lat latitude lon longitude lng
    avatar photo picture image url website password token secret server waiter staff employee user owner manager
    operator cashier driver courier host"""
)
_IDENTIFIES = frozenset({"id", "ids", "uid", "guid", "uuid", "key", "version"})
_STATES = _set(
    "state status type kind mode method brand channel category entry scope unit currency timezone country object "
    "event action level class format language locale source"
)
_AMOUNTS = _set(
    "amount money total price cost tip tips fee fees count quantity qty value rate percentage percent wage salary "
    "hours minutes seconds net gross sum discount subtotal balance charge refund"
)
_DIGITS_OF_PEOPLE = _set(
    "phone mobile cell telephone tel fax card pan last4 last iban account birth birthday birthdate dob ssn passport "
    "postal postcode zip lat latitude lon longitude lng"
)
_MOMENTS = frozenset(
    {"at", "time", "times", "timestamp", "date", "on", "created", "updated", "modified", "opened", "closed"}
)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?(Z|[+-]\d\d:?\d\d)?)?|\d\d:\d\d(:\d\d)?|PT?[\dDHMS.]+"
)
_NUMBER = re.compile(r"[+-]?\d{1,6}|[+-]?\d{1,12}[.,]\d{1,8}")
_LONG_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_CODE = re.compile(r"[A-Z][A-Z0-9_]*|true|false|null|[A-Z][a-z]+(/[A-Z][A-Za-z_]+)+")
_STATE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TRIES = 64
_LATIN = "àáâãäåçèéêëìíîïñòóôõöùúûüý"


@dataclass
class Masker:
    """Masks records of one case. `keep`: natural keys, which stay so that joins hold, unless they are an address.

    `masked`: every original that was replaced.
    """

    salt: bytes
    keep: Collection[str] = frozenset()
    masked: set[str] = field(default_factory=set)

    def record(self, text: str) -> str:
        """A record's text with people's data replaced; everything else byte for byte."""
        member = ""

        def replace(match: re.Match[str]) -> str:
            nonlocal member
            string, end, colon, number = match.groups()
            if number is not None:
                return self._number(number, member)
            if colon is not None:
                member = string
                return f'"{self._addresses(string)}"{colon}'
            return f'"{self.value(string, member)}{end}'

        return _TOKEN.sub(replace, text)

    def value(self, text: str, member: str) -> str:
        """The value of a member."""
        if not text or _is_nobodys(text, words_of(member), text in self.keep):
            return text
        return self.pseudonym(text)

    def key(self, text: str) -> str:
        """A natural key: what it shows of an address is replaced."""
        return self._addresses(text)

    def pseudonym(self, text: str) -> str:
        """Another text of the same shape, always the same for the same text, whatever its case."""
        other = _other(text, self.salt)
        if other != text:
            self.masked.add(text)
        return other

    def left_in(self, text: str) -> set[str]:
        """Originals, of three letters or digits and more, that `text` still shows as a value."""
        shown = {match[1] for match in _TOKEN.finditer(text) if match[1]} | {
            match[4] for match in _TOKEN.finditer(text) if match[4]
        }
        whole = {one for one in self.masked if one in shown}
        within = {one for one in self.masked if (_EMAIL.fullmatch(one) or " " in one) and one in text}
        return {one for one in whole | within if sum(c.isalnum() for c in one) >= 3}

    def _number(self, text: str, member: str) -> str:
        words = words_of(member)
        if words & _DIGITS_OF_PEOPLE and not words & (_AMOUNTS | _IDENTIFIES):
            return self.pseudonym(text)
        return text

    def _addresses(self, text: str) -> str:
        for pattern in (_EMAIL, _PHONE):
            text = pattern.sub(lambda match: self.pseudonym(match[0]), text)
        return text


def words_of(member: str) -> frozenset[str]:
    """The words of a member's name: givenName, given_name and Given Name are {given, name}."""
    return frozenset(word.lower() for word in _WORDS.findall(member))


def _is_nobodys(text: str, words: frozenset[str], is_key: bool) -> bool:
    """Whether a text can stay."""
    if _EMAIL.search(text) or _PHONE.search(text):
        return False
    if is_key:
        return True
    if words & _IDENTIFIES and " " not in text and "\\u" not in text:
        return True
    if words & _PERSONAL and not words & (_AMOUNTS | _STATES):
        return False
    if _TIME.fullmatch(text) or _NUMBER.fullmatch(text):
        return True
    if words & (_AMOUNTS | _MOMENTS) and _LONG_NUMBER.fullmatch(text):
        return True
    if words & _STATES:
        return _STATE.fullmatch(text) is not None
    return _CODE.fullmatch(text) is not None


def _other(text: str, salt: bytes) -> str:
    """Letters for letters and digits for digits. What is neither stays, and so do halves of characters and controls."""
    tries = (_shifted(text, salt + bytes([attempt])) for attempt in range(_TRIES))  # one letter may come out as itself
    return next((found for found in tries if found != text), text)


def _shifted(text: str, salt: bytes) -> str:
    stream = hashlib.shake_256(salt + text.casefold().encode("utf-8", "surrogatepass")).digest(2 * len(text) + 2)
    out: list[str] = []
    place = 0
    while place < len(text):
        char, byte, wide = text[place], stream[2 * len(out)], 1
        if char == "\\" and text[place + 1 : place + 2] == "u" and place + 6 <= len(text):
            wide = 6
            escape = text[place : place + 6]
            digits = escape[2:]
            is_letter = all(c in "0123456789abcdefABCDEF" for c in digits) and _is_letter(chr(int(digits, 16)))
            out.append(f"\\u{ord(_LATIN[byte % len(_LATIN)]):04x}" if is_letter else escape)
        elif char == "\\" and place + 1 < len(text):
            wide = 2
            out.append(text[place : place + 2])
        elif char.isdecimal() and char.isascii():
            first = place == 0 or not text[place - 1].isdecimal()
            out.append(str(1 + byte % 9) if first and char != "0" else char if first else str(byte % 10))
        elif "a" <= char <= "z":
            out.append(chr(ord("a") + byte % 26))
        elif "A" <= char <= "Z":
            out.append(chr(ord("A") + byte % 26))
        elif _is_letter(char):
            latin = _LATIN[byte % len(_LATIN)]
            out.append(latin.upper() if char.isupper() else latin)
        else:
            out.append(char)
        place += wide
    return "".join(out)


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"
