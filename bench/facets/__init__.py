"""What keeping summaries up to date costs, three ways; and what twenty models on twenty shards would."""
