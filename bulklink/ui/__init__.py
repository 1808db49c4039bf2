"""A page on the user's own machine, to look at runs, approve, watch and undo them."""
