"""One page of a vendor's answer, read without turning a number into a float or a record into objects."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import msgspec

from ingestion.errors import ShapeError

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)


def step(raw: bytes | msgspec.Raw, part: str) -> msgspec.Raw | None:
    """The member (or, for a number, the element) `part` of a JSON value; None where there is none."""
    first = bytes(memoryview(raw)[:64]).lstrip()[:1]
    if first == b"{":
        return _OBJECT.decode(raw).get(part)
    if first == b"[" and part.isdigit():
        elements = _ARRAY.decode(raw)
        return elements[int(part)] if int(part) < len(elements) else None
    return None


def at(raw: bytes | msgspec.Raw, path: str) -> msgspec.Raw | None:
    """The value at a dotted path; None where there is none."""
    value: msgspec.Raw | None = _ANY.decode(raw)
    for part in path.split(".") if path else ():
        if value is None:
            return None
        value = step(value, part)
    return value


def text_at(raw: bytes | msgspec.Raw, path: str) -> str | None:
    """The text of a string, number or boolean at a dotted path, numbers as they were written; None for null, empty
    text, and anything else."""
    value = at(raw, path)
    if value is None:
        return None
    plain = bytes(value).strip()
    if plain[:1] == b'"':
        return str(msgspec.json.decode(plain, type=str)) or None
    if plain == b"null" or plain[:1] in (b"{", b"["):
        return None
    return plain.decode()


class Page:
    """A decoded answer: body, headers, and the address it came from (without secrets)."""

    def __init__(self, body: bytes, headers: Mapping[str, str], url: str, again: str) -> None:
        """`again` is the command to run when the page turns out to be unusable."""
        self.body, self.headers, self.url, self._again = body, headers, url, again

    @cached_property
    def _envelope(self) -> Mapping[str, msgspec.Raw]:
        if self.body[:64].lstrip()[:1] != b"{":
            return {}
        try:
            return _OBJECT.decode(self.body)
        except msgspec.DecodeError as error:
            raise self.malformed(str(error)) from error

    def text(self, path: str) -> str | None:
        """The text at a dotted path of the body; None if there is none."""
        first, _, rest = path.partition(".")
        value = self._envelope.get(first)
        return None if value is None else text_at(value, rest)

    def check(self) -> None:
        """Raise VendorError unless the body is one JSON value."""
        try:
            _ANY.decode(self.body)
        except msgspec.DecodeError as error:
            raise self.malformed(str(error)) from error

    def records(self, paths: tuple[str, ...], *, may_be_absent: bool) -> Iterator[bytes]:
        """The records at the paths, each as the vendor's bytes on one line.

        An array gives its elements, an object itself, null nothing. A path that is not there is a VendorError unless
        this vendor leaves empty lists out: another envelope must not pass for "nothing new".
        """
        for path in paths:
            try:
                if path == "":
                    value: bytes | msgspec.Raw | None = self.body
                else:
                    first, _, rest = path.partition(".")
                    value = self._envelope.get(first)
                    if value is not None and rest:
                        value = at(value, rest)
                if value is None:
                    if may_be_absent and self.body[:64].lstrip()[:1] == b"{":
                        continue
                    raise self.malformed(f"it has no {path!r}, where the records should be")
                start = bytes(memoryview(value)[:64]).lstrip()[:1]
                if start == b"[":
                    for element in _ARRAY.decode(value):
                        yield one_line(bytes(element))
                elif start == b"{":
                    yield one_line(bytes(value).strip())
                elif bytes(value).strip() != b"null":
                    raise self.malformed(f"at {path!r} there are no records")
            except msgspec.DecodeError as error:
                raise self.malformed(str(error)) from error

    def malformed(self, detail: str) -> ShapeError:
        """The error of a page that cannot be used."""
        sample = self.body[:80].decode("utf-8", "replace")
        return ShapeError(
            f"{self.url} answered with something that cannot be read: {detail}; it begins {sample!r}",
            next_command=self._again,
        )


def one_line(record: bytes) -> bytes:
    """A record without line feeds. JSON allows them between tokens only, so no value changes."""
    return record.replace(b"\n", b"") if b"\n" in record else record


def with_context(record: bytes, context: bytes) -> bytes:
    """The record with `context` (a JSON object) as its first member, `_context`; what is no object stays as it is."""
    if record[:1] != b"{":
        return record
    rest = record[1:].lstrip()
    return b'{"_context":' + context + (b"" if rest[:1] == b"}" else b",") + rest
