"""Erasing a business: what of it a shard and the control database hold, and taking that away for good."""
