"""Run folders: options, state and locks of a run."""
