"""The installation as a Dagster resource. Opened when a run needs it: loading definitions touches no database."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingestion.data.spec import DATA
from ingestion.registry import discover
from ingestion.spec import IntegrationSpec
from orchestration.cycle import Installation, Watch
from orchestration.events import Event
from sharding.errors import LarderError
from sharding.settings import Settings, get_settings
from sharding.up import open_catalogue


class Larder:
    """Opens the installation of this process's settings, or a given one.

    `hear` is told every event of a cycle, `watch` how far it is; `within`: seconds that a cycle may take.
    """

    def __init__(
        self,
        given: Installation | None = None,
        hear: Callable[[Event], None] = lambda event: None,
        watch: Watch | None = None,
        within: float | None = None,
    ) -> None:
        self._given, self.hear, self.watch, self.within = given, hear, watch, within

    def open(self) -> Installation:
        """The installation. Raises LarderError where it does not run."""
        settings = get_settings()
        return self._given or Installation.of(settings, open_catalogue(settings))


def configured_integrations(settings: Settings) -> Mapping[str, IntegrationSpec]:
    """The integrations that some business is connected to; all of them where no catalogue answers (as in CI)."""
    specs = discover()
    try:
        sources = open_catalogue(settings).sources()
    except LarderError:
        return specs
    used = {source.integration for source in sources}
    own = [source.config for source in sources if source.integration == DATA.name]
    return {name: DATA.of_all(own) if name == DATA.name else spec for name, spec in specs.items() if name in used}
