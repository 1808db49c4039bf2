"""Worker: drives the approved runs of a folder, one at a time for an org."""
