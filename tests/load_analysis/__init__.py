"""Statistics of load tests."""
