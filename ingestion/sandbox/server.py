"""The vendors as HTTP servers on 127.0.0.1, one free port each.

A vendor is a folder `vendors/<name>/` whose `vendor.py` has ``open_vendor(trade) -> Vendor`` (see http.py): it is given
the trade of `data.py` and answers requests as of `request.now`, the sandbox's clock. Nothing else has to know of it.
Besides the vendor's own rate, every 60th request of a token is throttled once, so that clients meet it at each run.
"""

from __future__ import annotations

import gc
import importlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ingestion.sandbox.clock import SandboxClock
from ingestion.sandbox.data import Trade, load
from ingestion.sandbox.http import Answer, Bucket, Faults, Request, Vendor
from ingestion.sandbox.timeline import encoded

HOST = "127.0.0.1"
VENDORS = Path(__file__).parent / "vendors"
HICCUP = 60
RETRY_AFTER = 1


def vendor_names() -> list[str]:
    """The vendors the sandbox has: folders with a `vendor.py`."""
    return sorted(p.parent.name for p in VENDORS.glob("*/vendor.py"))


def open_vendor(name: str, trade: Trade) -> Vendor:
    """The vendor of a folder."""
    vendor: Vendor = importlib.import_module(f"ingestion.sandbox.vendors.{name}.vendor").open_vendor(trade)
    return vendor


class VendorServer(ThreadingHTTPServer):
    """One vendor on one port."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str, vendor: Vendor, clock: SandboxClock, faults: Faults, port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.name, self.vendor, self.clock, self.faults = name, vendor, clock, faults
        self.bucket = Bucket(vendor.rate)
        self.calls: Counter[str] = Counter()
        self.counting = threading.Lock()

    @property
    def origin(self) -> str:
        """http://127.0.0.1:port."""
        return f"http://{HOST}:{self.server_address[1]}"

    def reply(self, request: Request) -> Answer | None:
        """The answer to a request, with the vendor's manners and faults; None closes the connection."""
        fault = self.faults.of(self.name)
        if fault.get("at", "") not in request.path:
            fault = {}
        match fault.get("fault"):
            case "down":
                return None
            case "unauthorized":
                return self.vendor.unauthorized()
            case "throttled":
                return self.vendor.throttled(RETRY_AFTER)
        token = request.headers.get("authorization") or request.headers.get("access-token", "")
        token = token or request.query.get("access_token", "")
        with self.counting:
            self.calls[token] += 1
            hiccup = bool(token) and self.calls[token] % HICCUP == 0
        if hiccup or not self.bucket.take(token):
            return self.vendor.throttled(RETRY_AFTER)
        answer = self.vendor.answer(request)
        return _spoiled(answer, fault) if fault and answer.status == 200 else answer


def _spoiled(answer: Answer, fault: Mapping[str, Any]) -> Answer:
    match fault["fault"]:
        case "malformed":
            return Answer(b"<html>We are experiencing difficulties</html>", 200, answer.headers)
        case "truncated":
            return Answer(answer.body[: len(answer.body) * 2 // 3], 200, answer.headers)
        case "spoiled":
            return Answer(_with(answer.body, fault["with"]), 200, answer.headers)
    raise ValueError(f"the sandbox knows no fault {fault['fault']!r}")


def _with(body: bytes, members: Mapping[str, Any]) -> bytes:
    """`body` with the first record of its first array given other members. `raw` puts JSON text in literally."""
    page = json.loads(body)
    records = page if isinstance(page, list) else next((v for v in page.values() if isinstance(v, list)), [])
    if not records:
        return body
    literal: list[str] = []
    for path, value in members.items():
        *parents, last = path.split(".")
        at = records[0]
        for step in parents:
            at = at[step]
        if isinstance(value, dict) and set(value) == {"raw"}:
            at[last] = f"@@{len(literal)}@@"
            literal.append(value["raw"])
        elif value is None:
            at.pop(last, None)
        else:
            at[last] = value
    text = encoded(page).decode()
    for n, raw in enumerate(literal):
        text = text.replace(f'"@@{n}@@"', raw)
    return text.encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: VendorServer
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """A read."""
        self._serve()

    def do_POST(self) -> None:
        """A search or a login."""
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        parameters = parse_qsl(url.query, keep_blank_values=True)
        request = Request(
            self.command,
            url.path,
            dict(parameters),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length) if length else b"",
            self.server.origin,
            self.server.clock.now(),
            parameters,
        )
        answer = self.server.reply(request)
        if answer is None:
            self.close_connection = True
            return
        head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", "Content-Type: application/json"]
        head += [f"Content-Length: {len(answer.body)}", *(f"{name}: {value}" for name, value in answer.headers.items())]
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1") + answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a client's log tells what it asked."""


@contextmanager
def serving(
    home: Path, names: list[str] | None = None, ports: Mapping[str, int] | None = None
) -> Iterator[dict[str, str]]:
    """Serve vendors (default: all) until the end of the block; yields each one's base URL.

    `ports` are ports to take again where they are still free, so that a restart does not move the vendors.
    """
    clock, faults = SandboxClock(home), Faults.of_home(home)
    clock.now()
    vendors = _open(names or vendor_names())
    servers = []
    try:
        for name, vendor in vendors.items():
            try:
                server = VendorServer(name, vendor, clock, faults, (ports or {}).get(name, 0))
            except OSError:
                server = VendorServer(name, vendor, clock, faults)
            servers.append(server)
            threading.Thread(target=server.serve_forever, name=f"sandbox {name}", daemon=True).start()
        yield {server.name: server.origin for server in servers}
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _open(names: Sequence[str]) -> dict[str, Vendor]:
    """The vendors by name.

    They make a quarter of a million objects that live as long as the process: looking for garbage among them meanwhile
    takes half of the time (2.4 CPU-seconds instead of 1.1), so the collector waits and then leaves them alone.
    """
    gc.disable()
    try:
        trade = load()
        return {name: open_vendor(name, trade) for name in names}
    finally:
        gc.freeze()
        gc.enable()
