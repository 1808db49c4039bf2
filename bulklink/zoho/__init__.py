"""Zoho CRM: the only room that knows a URL, a payload or an error code."""
