"""Runs as they go, and what came of each."""
