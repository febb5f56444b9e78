"""What to learn from, on which base, with which settings."""
