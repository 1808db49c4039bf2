"""Profiles: named connections, and where the secrets of each are kept."""
