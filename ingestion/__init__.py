"""Vendor → block → raw. Reads vendors, keeps blocks, loads shards. Never imports Dagster."""
