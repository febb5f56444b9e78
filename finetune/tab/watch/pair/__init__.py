"""Held-out images before and after a training, side by side."""
