"""Ids, catalogue, router, instances and provisioning: who lives on which database."""
