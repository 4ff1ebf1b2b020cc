"""An S3 server on loopback, with what its clients need in the environment; credentials are in a file, as AWS has it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

KEY, SECRET = "AKIALARDERTESTS", "wJalrXUtnFEMI-K7MDENG-larder"


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Bucket:
    """A bucket, and a client of another program's. `log`: the requests to the server."""

    name: str
    client: Any
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where blocks or files may go."""
        return f"s3://{self.name}/larder"

    def keys(self) -> list[str]:
        """What is in it, by another client."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def requests(self) -> list[str]:
        """Methods of the requests since the last time."""
        found = [line.split('"')[1].split()[0] for line in self.log if '"' in line]
        self.log.clear()
        return found


@contextmanager
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new bucket. Whoever opens an `s3://` URL meanwhile, in this process or one that it starts, finds the server."""
    import boto3

    url, log = _server()
    credentials = folder / "object-store-credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    for name, value in {
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_ENDPOINT_URL_S3": url, "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    made = Bucket(f"larder-{uuid4().hex}", boto3.client("s3"), log.lines)
    made.client.create_bucket(Bucket=made.name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    made.log.clear()
    yield made


@cache
def _server() -> tuple[str, _Log]:
    """One a process, ended with it: clients keep their connections, and remember where it is."""
    from moto.server import ThreadedMotoServer

    log = _Log()
    logger = logging.getLogger("werkzeug")
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}", log
