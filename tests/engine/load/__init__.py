"""Tests of the parts that drive load tests."""
