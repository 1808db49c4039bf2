"""The engine: sends a plan's messages, paced, and settles each of them."""
