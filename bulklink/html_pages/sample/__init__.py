"""Page with a sample of an audit: each drawn email, and what the verdicts on them prove."""
