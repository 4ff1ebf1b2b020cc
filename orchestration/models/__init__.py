"""Python models: one module each, holding `MODEL`. Found by scanning this folder."""
