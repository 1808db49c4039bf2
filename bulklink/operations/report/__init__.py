"""`report`: the page of a run, gathered from its folder."""
