"""Which images are tasks, and which have a known path."""
