"""Failures are told: one letter a cause, one when it is over. No Dagster here but in `sensors`."""
