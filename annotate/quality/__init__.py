"""How good annotations are: pure functions on what the store holds. Every score is one of `gazevlm_core.metrics`."""
