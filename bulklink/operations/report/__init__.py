"""`report`: the HTML report of a run, collected from its folder."""
