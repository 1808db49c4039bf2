"""API credit quota."""
