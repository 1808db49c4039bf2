"""Load tests: when calls start, which emails they change, and how long they take."""
