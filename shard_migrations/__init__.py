"""Versioned DDL of shards (`shard/`) and of the control database (`control/`). Run by sharding/migrate.py."""
