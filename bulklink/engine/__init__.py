"""Sending the messages of a sealed plan and settling each of them."""
