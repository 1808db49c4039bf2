"""HTML report about a run."""
