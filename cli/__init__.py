"""The `larder` command: thin callers of the functions in ingestion, sharding and orchestration."""
