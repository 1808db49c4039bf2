"""What results of load tests say: pure functions, without I/O and clock."""
