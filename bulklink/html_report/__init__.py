"""HTML report: a pure function of plain values."""
