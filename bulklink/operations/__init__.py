"""A job, from mapping to ledger: what the command line and programs call."""
