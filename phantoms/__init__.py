"""Drawn chest radiographs with a complete ground truth: what is there, where, and how readers view it."""
