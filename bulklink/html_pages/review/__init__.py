"""Review page of an audit: what is proposed, why, and the decisions of whoever reads it."""
