"""Backups of a database, and what makes a restored shard one that can be gone on with."""
