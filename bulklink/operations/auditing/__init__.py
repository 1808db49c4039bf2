"""What an audit reads of the CRM, how it is kept, and how it reaches the judge."""
