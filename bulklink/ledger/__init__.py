"""The ledger: the append-only truth about what happened to every row."""
