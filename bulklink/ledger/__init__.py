"""The ledger: the append-only record of what happened to every row."""
