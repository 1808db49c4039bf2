"""Pages: the report, the review, and what they share."""
