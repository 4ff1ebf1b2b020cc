"""`python -m bench.pages FOLDER`: serves its files 0, 1, … as the pages of one list; prints its address."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    """The page that `cursor` names; the first one without it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    pages: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        """Answer."""
        number = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        body = self.pages[number]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    files = sorted(Path(sys.argv[1]).iterdir(), key=lambda file: int(file.name))
    Handler.pages = tuple(file.read_bytes() for file in files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
