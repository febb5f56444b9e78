"""How good the annotations of a store are, for reviewers."""
