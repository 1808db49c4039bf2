"""Pages about load tests."""
