"""Secrets by reference: the catalogue stores `env:NAME` or `file:PATH`, never a password or a token."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from sharding.errors import LarderError


def read_secret(ref: str, home: Path) -> str:
    """The text a reference names. A relative `file:` path is below `home`.

    Raises:
        LarderError: turn `credentials` where the variable or file is missing, `config` where the form is unknown.
    """
    kind, _, name = ref.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        if not value:
            raise LarderError(f"environment variable {name} is not set", "credentials", f"export {name}=…")
        return value
    if kind == "file":
        path = home / name
        try:
            return path.read_text().strip()
        except OSError as error:
            raise LarderError(
                f"secret file {path} cannot be read ({error.strerror})", "credentials", f"ls -l {path}"
            ) from error
    raise LarderError(f"secret reference {ref!r} is neither env:NAME nor file:PATH", "config", "larder source list")


def read_credentials(ref: str | None, home: Path) -> dict[str, str]:
    """A source's credentials: the JSON object a reference names, or its bare text as `{"token": …}`.

    Raises:
        LarderError: as `read_secret`, or turn `credentials` where the JSON is not an object of strings.
    """
    if ref is None:
        return {}
    text = read_secret(ref, home)
    if not text.startswith("{"):
        return {"token": text}
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise LarderError(f"secret {ref} is not valid JSON ({error})", "credentials", "larder source list") from error
    if not all(isinstance(value, str) for value in values.values()):
        raise LarderError(f"secret {ref} has a value that is not text", "credentials", "larder source list")
    return dict(values)


def write_secret(path: Path, text: str) -> None:
    """Write a secret so that only its owner can ever read it (0600 from the first byte, folder 0700). Whoever reads it
    meanwhile, or after a crash, finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def password_of(path: Path) -> str:
    """The password in `path`, drawn at random on first use."""
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(24))
    return path.read_text().strip()
