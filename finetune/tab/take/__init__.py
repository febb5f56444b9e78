"""A finished adapter as a file."""
