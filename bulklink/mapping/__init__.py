"""Mappings: reading the user's files, checking every row, sealing the plan."""
