"""Local Zoho CRM that behaves as documented, written independently of the client."""
