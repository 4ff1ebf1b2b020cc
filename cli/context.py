"""What commands share: settings, the catalogue, and whose clock counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from sharding.settings import Settings, get_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ingestion.blocks import BlockStore
    from sharding.catalogue import Catalogue
    from sharding.router import Router


@dataclass(frozen=True)
class Context:
    """This process's installation. The catalogue is opened on first use and fails with the command that helps."""

    settings: Settings

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue of the running installation; a LarderError says `larder up` where it does not run."""
        from sharding.up import open_catalogue

        return open_catalogue(self.settings)

    @cached_property
    def router(self) -> Router:
        """Connections to businesses' shards."""
        from sharding.router import Router

        return Router(self.catalogue)

    @cached_property
    def store(self) -> BlockStore:
        """The blocks of this installation, and the object store that they are copied to."""
        from ingestion.blocks import BlockStore

        return BlockStore(self.settings.block_store, self.settings.block_remote)

    @cached_property
    def clock(self) -> Callable[[], datetime]:
        """Now, by the vendors' clock: the sandbox's where this installation has one, else the real time."""
        from ingestion.clock import clock_of

        return clock_of(self.settings.home)


@cache
def get_context() -> Context:
    """The context of this process."""
    return Context(get_settings())
