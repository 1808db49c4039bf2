"""Limits on calls in flight and calls per second."""
