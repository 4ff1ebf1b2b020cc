"""What keeping summaries up to date costs, four ways; and what twenty models on twenty shards would."""
