"""The audit log, and the sync at once."""
