"""The Adapt tab: choose annotations, train an adapter, watch it, compare it, use it in Diagnose."""
