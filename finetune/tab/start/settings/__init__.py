"""The fields of `FinetuneConfig` as components."""
