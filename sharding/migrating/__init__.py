"""Migrations of many shards: their files, one shard first and then the others, and what is kept of it."""
