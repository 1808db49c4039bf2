"""Mappings: reading what users have, checking every row, sealing the plan."""
