"""Pacing: whose turn it is, how many calls are in flight, how many start a second."""
