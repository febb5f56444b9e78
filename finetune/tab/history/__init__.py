"""Finished adapters, and some of them beside each other."""
