"""Teach: click scanpaths of anybody, and the store that keeps them."""
