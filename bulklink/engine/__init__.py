"""Sends the messages of a sealed plan, and settles each of them."""
