"""The page of `bulklink ui`."""
