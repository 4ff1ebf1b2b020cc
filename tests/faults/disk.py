"""Small file systems that can be full, where this process may mount one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sharding import instances
from tests.conftest import Server


@contextmanager
def mounted(folder: Path, size: str, owner: os.stat_result | None = None) -> Iterator[None]:
    """A file system in memory over a folder; the test is skipped where it cannot be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    try:
        if owner is not None:
            folder.chmod(0o700)
            os.chown(folder, owner.st_uid, owner.st_gid)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_tablespace(server: Server, size: str = "256k") -> Iterator[str]:
    """A tablespace of a server on a small file system; what is put there must leave it again, or go."""
    folder = Path(tempfile.mkdtemp(prefix="larder-disk-", dir="/var/tmp"))
    data = Path(instances.record_of(server.instance.name, server.settings).data)
    try:
        with mounted(folder, size, data.stat()):
            server.execute(f"create tablespace small location '{folder}'", as_superuser=True)
            try:
                server.execute("grant create on tablespace small to public", as_superuser=True)
                yield "small"
            finally:
                server.execute("drop tablespace if exists small", as_superuser=True)
    finally:
        folder.rmdir()
