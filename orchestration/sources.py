"""A source of the catalogue as ingestion takes it. The one place where both sides meet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ingestion.source import SourceRef
from sharding.catalogue import Catalogue
from sharding.credentials import write_secret
from sharding.model import Source


def source_ref(catalogue: Catalogue, source: Source) -> SourceRef:
    """A source with its secrets, read now from where its reference points.

    Raises:
        sharding.errors.LarderError: turn `credentials` or `config` where the secret cannot be read.
    """
    return SourceRef(
        source_id=source.id,
        business=source.business,
        business_name=source.business_name,
        integration=source.integration,
        name=source.name,
        config=source.config,
        secret=catalogue.credentials(source),
        keep_secret=_keeper(catalogue, source),
    )


def _keeper(catalogue: Catalogue, source: Source) -> Callable[[Mapping[str, str]], None] | None:
    """Writes the source's secrets to the file that its reference names; None where it names none."""
    kind, _, name = (source.secret_ref or "").partition(":")
    if kind != "file":
        return None
    return lambda secrets: write_secret(catalogue.home / name, json.dumps(dict(secrets)))
