"""Profiles: named connections, and the stores of their secrets."""
