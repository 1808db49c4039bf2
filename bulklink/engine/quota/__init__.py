"""Credits: what a run may spend, what it sets aside, and when there are some again."""
