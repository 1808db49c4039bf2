"""HTML pages: pure functions of plain values, one room for each kind of page."""
