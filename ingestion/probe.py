"""Asks a vendor for one page (of files or a database: for some rows), to tell whether a source's settings are right."""

from dataclasses import dataclass
from datetime import datetime

from ingestion.data.spec import DataSpec
from ingestion.http import Client
from ingestion.reader import calls
from ingestion.source import SourceRef, check_source
from ingestion.spec import IntegrationSpec


@dataclass(frozen=True)
class Probe:
    """What one request showed."""

    stream: str
    records: int
    url: str


def probe(source: SourceRef, spec: IntegrationSpec, now: datetime, *, patience: float = 10.0) -> Probe:
    """Check settings and secrets, then read one page of the first stream; raises what is wrong as a LarderError."""
    check_source(source, spec)
    if isinstance(spec, DataSpec):
        from ingestion.data.preview import first_rows

        return Probe(*first_rows(source))
    client = Client(spec, source, patience=patience)
    stream = spec.streams[0]
    sites: list[str] = []
    if stream.sites and stream.sites.config:
        sites = [str(site) for site in source.config[stream.sites.config]]
    requests = calls(spec, stream, client.address_of(stream), source.config, sites=sites, parents=(), window=(now, now))
    page = client.send(next(iter(requests)).request)
    records = sum(1 for _ in page.records(stream.records, may_be_absent=spec.omits_empty))
    return Probe(stream.name, records, page.url)
