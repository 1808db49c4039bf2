"""Which deal each email belongs to: pure functions over the emails and deals of one contact."""
