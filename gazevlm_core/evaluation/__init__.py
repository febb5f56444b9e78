"""The one evaluation: predict once, score by one registry of metrics beside floors, draw everything from a report.

Torch is imported by `predict` and `run` alone.
"""
