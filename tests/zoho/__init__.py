"""What is asked of Zoho CRM and what its answers mean, by its pages."""
