"""What commands that fetch emails share: the folder, the log, the reading and the table."""
