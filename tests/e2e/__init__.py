"""End-to-end tests: the installed command, over real sockets, judged by its contract alone."""
