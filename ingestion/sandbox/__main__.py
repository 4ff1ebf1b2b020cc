"""`python -m ingestion.sandbox HOME`: serve every vendor until SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from ingestion.sandbox.process import state_file
from ingestion.sandbox.server import serving


def main(home: Path) -> None:
    """Serve, say where, and wait."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    file = state_file(home)
    before = json.loads(file.read_text())["urls"] if file.exists() else {}
    ports = {name: urlsplit(url).port or 0 for name, url in before.items()}
    with serving(home, ports=ports) as urls:
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"pid": os.getpid(), "urls": urls}))
        partial.replace(file)
        stop.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
