"""bulklink links and unlinks the emails of Zoho CRM contacts to deals in bulk."""
