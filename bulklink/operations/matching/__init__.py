"""What matching another system's list of emails consists of: files, columns, deals, result."""
