"""Zoho CRM API client: the only package that knows URLs, payloads and error codes."""
