"""The canary: the first whole batches of a run are sent and read back before the rest."""
