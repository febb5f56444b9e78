"""Ratios measured within one run; timings of one machine say little about another."""
