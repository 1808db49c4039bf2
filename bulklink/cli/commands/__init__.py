"""One module a command: parse, call the operation, show the result."""
