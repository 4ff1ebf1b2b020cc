"""Any other data: files and databases whose rows a mapping turns into unified entities or tables of one's own.

They take the way of vendors: immutable blocks, raw with every version, quarantine, ledger. What is different is where
records come from (`files.py`, `database.py`) and that a source says itself, in its mapping, which streams it has.
"""
