"""Scoring a checkpoint on a data set, beside floors, ceilings and twins."""
