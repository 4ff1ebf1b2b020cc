"""The auditor: the money in the blocks' bytes beside raw, facts and summaries, equal to the cent or red.

The block side shares nothing with the loader or with dbt: its own reader, its own fold, its own arithmetic
(`ingestion/integrations/<vendor>/receipts.py`), so that a mistake has to be made twice, differently, to stay unseen.
"""
