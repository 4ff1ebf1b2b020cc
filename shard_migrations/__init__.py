"""Versioned DDL: `shard/NNNN_name.sql` and `control/NNNN_name.sql`, run in order by sharding/migrate.py.

A file that has been applied anywhere is never edited; the next number changes what it made. In shard files `{keys}`,
`{raw}`, `{staging}`, `{intermediate}`, `{marts}`, `{bi}` and `{meta}` stand for the shard's schemas.
"""
