"""Questions about what Zoho leaves open, and the experiments that answer them."""
