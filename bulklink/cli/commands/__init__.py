"""Commands, one module each: parse options, call the operation, show the result."""
