"""Scores of scanpaths and labels: pure functions on NumPy arrays."""
