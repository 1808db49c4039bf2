"""Pages about load tests: one, or two side by side."""
