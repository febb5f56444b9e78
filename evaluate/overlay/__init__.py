"""A model's path and a reader's on one image: where they look, in step, and every score of one against the other."""
