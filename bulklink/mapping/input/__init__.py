"""Input files: what users have, as records that DuckDB reads."""
