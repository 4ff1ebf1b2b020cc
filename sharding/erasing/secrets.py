"""Secrets and uploaded files of a business in this installation's home."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sharding.catalogue import Catalogue
from sharding.model import Business
from sharding.settings import Settings


@dataclass(frozen=True)
class Secrets:
    """Where a business's credentials are. `files` are this home's and its alone; `elsewhere` others have to remove."""

    files: tuple[str, ...]
    elsewhere: tuple[str, ...]


def secrets_of(catalogue: Catalogue, business: Business, settings: Settings) -> Secrets:
    """The references of the business's sources."""
    mine, others = set[str](), set[str]()
    for source in catalogue.sources():
        if source.secret_ref:
            (mine if source.business == business.id else others).add(source.secret_ref)
    files, elsewhere = [], []
    for ref in sorted(mine):
        kind, _, name = ref.partition(":")
        path = (settings.home / name).resolve()
        if kind == "file" and ref not in others and path.is_relative_to(settings.secrets_dir.resolve()):
            files.append(str(path))
        else:
            elsewhere.append(ref)
    return Secrets(tuple(files), tuple(elsewhere))


def uploads_of(name: str, settings: Settings) -> Path:
    """Where files are put that a business uploads."""
    return settings.home / "uploads" / name


def delete_files(paths: Sequence[str], uploads: Path) -> None:
    """Delete secret files and the folder of uploads; what is gone already is no error."""
    for path in paths:
        Path(path).unlink(missing_ok=True)
    if uploads.exists():
        shutil.rmtree(uploads)
