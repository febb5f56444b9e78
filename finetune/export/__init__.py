"""Adapters leave this machine: merged into their base, as a file, or on the Hub."""
