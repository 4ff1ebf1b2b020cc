"""Moving a business to another shard while it trades."""
