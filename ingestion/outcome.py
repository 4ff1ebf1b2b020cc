"""What a load did, and what it could not do."""

from dataclasses import dataclass, field
from uuid import UUID

from ingestion.drift import Shape
from ingestion.errors import LarderError
from ingestion.publish import BlockCount, Published


@dataclass(frozen=True)
class Failure:
    """Blocks that are not in raw, and why."""

    business: int
    block_ids: tuple[UUID, ...]
    error: LarderError


@dataclass
class LoadResult:
    """What a load did. `blocks` were published now, `already` were in the ledger before."""

    blocks: list[BlockCount] = field(default_factory=list)
    already: list[UUID] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    changed: dict[tuple[int, str], int] = field(default_factory=dict)
    shapes: dict[UUID, Shape] = field(default_factory=dict)  # of the records read, by block

    @property
    def loaded_block_ids(self) -> list[UUID]:
        """Blocks that the ledger has: published now or before."""
        return [*(block.block_id for block in self.blocks), *self.already]

    def total(self, what: str) -> int:
        """Sum over the blocks of `records`, `versions`, `unchanged`, `superseded`, `quarantined` or `tombstones`."""
        return sum(getattr(block, what) for block in self.blocks)

    def add(self, published: Published) -> None:
        """Take in one publish."""
        self.blocks.extend(published.blocks)
        self.already.extend(published.already)
        for key, number in published.changed.items():
            self.changed[key] = self.changed.get(key, 0) + number
