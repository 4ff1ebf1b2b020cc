"""Lists inside records that a vendor cuts without saying so: read whole, and put back in their place."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ingestion.http import Client, Request
from ingestion.page import Page, at, one_line, text_at
from ingestion.paging import Pager
from ingestion.spec import IntegrationSpec, Nested, OffsetPaging, Stream
from ingestion.template import fill

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class NestedLists:
    """The lists of one stream's records that may be cut."""

    def __init__(
        self, client: Client, spec: IntegrationSpec, stream: Stream, config: Mapping[str, Any], again: str
    ) -> None:
        self._client, self._stream, self._again = client, stream, again
        self._values = {f"config.{name}": config.get(name, "") for name in spec.config}
        self._may_be_absent = spec.omits_empty

    def completed(self, record: bytes) -> bytes:
        """The record with every list that is as long as the vendor's limit read by itself; else as it is.

        Raises what `Pager.pages` raises.
        """
        for nested in self._stream.nested:
            value = at(record, nested.path)
            if value is None or bytes(memoryview(value)[:1]) != b"[" or len(_ARRAY.decode(value)) < nested.limit:
                continue
            parent = text_at(record, nested.key)
            if parent is not None:
                record = one_line(replaced(record, nested.path.split("."), self._whole(nested, parent)))
        return record

    def _whole(self, nested: Nested, parent: str) -> bytes:
        """All elements, in the vendor's order, as a JSON array."""

        def elements(page: Page) -> list[bytes]:
            return list(page.records(nested.records, may_be_absent=self._may_be_absent))

        values = self._values | {"parent": parent}
        request = Request(
            "GET",
            f"{self._client.address_of(self._stream)}{fill(nested.request, values)}",
            {name: str(value) for name, value in fill(nested.params, values).items()},
            fill(self._stream.headers, values),
        )
        paging = OffsetPaging(type="offset", size=nested.size)
        pager = Pager(self._client, paging, lambda page: len(elements(page)), self._again)
        # Pages come from the last to the first, and one that is read later knows better about an element that moved.
        found: dict[str, bytes] = {}
        for page in pager.pages(request):
            on_page = {
                text_at(element, nested.element_key) or str(hash(element)): element for element in elements(page)
            }
            found = on_page | {key: element for key, element in found.items() if key not in on_page}
        return b"[" + b",".join(found.values()) + b"]"


def _key(element: bytes, nested: Nested) -> str:
    return text_at(element, nested.element_key) or element.decode("utf-8", "replace")


def replaced(record: bytes | msgspec.Raw, path: list[str], value: bytes) -> bytes:
    """A JSON object with the member at `path` replaced; numbers and everything else keep their spelling."""
    members = _OBJECT.decode(record)
    first, *rest = path
    members[first] = msgspec.Raw(replaced(members[first], rest, value) if rest else value)
    return msgspec.json.encode(members)
