"""Limits of the chance that the ids of an unaltered column look rounded."""

#: Chance below which a column is refused, and below which a warning is given.
REFUSED_BELOW, WARNED_BELOW = 1e-6, 1e-3
