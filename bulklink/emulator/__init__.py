"""A local Zoho CRM, written apart from the client, that behaves as documented."""
