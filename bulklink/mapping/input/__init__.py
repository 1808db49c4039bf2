"""Input files: the user's files as records that DuckDB reads."""
