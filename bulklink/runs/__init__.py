"""Run folders: what was asked, where a run stands, who drives it."""
