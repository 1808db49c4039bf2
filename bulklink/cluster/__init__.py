"""Runs of many orgs on several machines, by way of PostgreSQL (extra `bulklink[cluster]`)."""
