"""Sources of training and test examples; each yields the same record, `example.Example`."""
