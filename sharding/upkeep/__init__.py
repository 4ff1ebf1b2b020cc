"""Upkeep of a shard: what its server says of its state, what that means, and what is done in its quiet hour."""
