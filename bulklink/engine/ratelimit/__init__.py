"""Limits on calls in flight and calls a second."""
