"""Tests of the CRM client against Zoho's documentation."""
